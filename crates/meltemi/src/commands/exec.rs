//! `meltemi exec WORKLOAD -- CMD`: a program inside a workload's network.

use super::{Outcome, entered};
use crate::mesh::WorkloadArgs;
use meltemi_local::enter::{Target, enter};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    workload: WorkloadArgs,
    /// Container whose environment the command gets (default: the first)
    #[arg(short, long)]
    container: Option<String>,
    /// Command and its arguments, after --
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub fn run(args: Args) -> Outcome {
    let (mesh, pod) = args.workload.find()?;
    let target = Target::Exec {
        namespace: pod.namespace,
        name: pod.name,
        container: args.container,
    };
    entered(enter(&mesh.run, target, &args.command, |_| {}))
}
