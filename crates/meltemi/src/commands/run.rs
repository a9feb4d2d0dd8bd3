//! `meltemi run --service NAME --port P -- CMD`: a process of yours as a workload.

use super::{Outcome, entered};
use crate::mesh::MeshArgs;
use meltemi_local::enter::{Target, enter};
use meltemi_local::supervisor::RunRequest;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    mesh: MeshArgs,
    /// Service that the process belongs to; made while it runs when there is none
    #[arg(long, requires = "port", value_name = "NAME")]
    service: Option<String>,
    /// Port that the process listens on
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Namespace
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Label of the workload; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Service account, and so the identity
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// Without a sidecar: a client from outside of the mesh
    #[arg(long)]
    no_sidecar: bool,
    /// Command and its arguments, after --
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("\"{text}\" is not KEY=VALUE")),
    }
}

pub fn run(args: Args) -> Outcome {
    let mesh = args.mesh.find()?;
    let port = args.port;
    let request = RunRequest {
        service: args.service,
        namespace: args.namespace,
        port,
        labels: args.labels.into_iter().collect(),
        service_account: args.service_account,
        plain: args.no_sidecar,
    };
    let outcome = enter(&mesh.run, Target::Run(request), &args.command, |admitted| {
        eprintln!(
            "running as {}/{} at {}",
            admitted.namespace, admitted.pod, admitted.address
        );
        if let (Some(bind), Some(port)) = (&admitted.bind, port) {
            eprintln!("in loopback mode it must listen at $BIND_ADDRESS, {bind}:{port}");
        }
    });
    entered(outcome)
}
