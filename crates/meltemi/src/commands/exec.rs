//! `meltemi exec WORKLOAD -- CMD`: a program inside a workload's network.

use super::{Outcome, entered};
use crate::mesh::MeshArgs;
use meltemi_local::enter::{Target, enter};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    mesh: MeshArgs,
    /// Pod, workload or app name
    workload: String,
    /// Namespace of the workload
    #[arg(short, long)]
    namespace: Option<String>,
    /// Container whose environment the command gets (default: the first)
    #[arg(short, long)]
    container: Option<String>,
    /// Command and its arguments, after --
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub fn run(args: Args) -> Outcome {
    let mesh = args.mesh.find()?;
    let pod = mesh.pod(&args.workload, args.namespace.as_deref())?;
    let target = Target::Exec {
        namespace: pod.namespace,
        name: pod.name,
        container: args.container,
    };
    entered(enter(&mesh.run, target, &args.command, |_| {}))
}
