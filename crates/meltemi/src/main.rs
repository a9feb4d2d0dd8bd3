//! `meltemi`: the mesh in one program. This crate reads arguments and prints answers; the
//! work is done in the crates it calls.

#![deny(unsafe_code)]

mod allocator;
mod client;
mod commands;
mod mesh;
mod output;

use clap::{Parser, Subcommand};
use commands::*;
use std::process::ExitCode;

/// A service mesh that runs Istio's configuration on one machine or on many
#[derive(Parser)]
#[command(
    name = "meltemi",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
#[command(after_help = "Start with `meltemi up`: it brings up the bookinfo sample.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring up the mesh of a directory, or the bookinfo sample
    Up(up::Args),
    /// Stop a running mesh and everything in it
    Down(down::Args),
    /// Show workloads, their certificates and how current each proxy is
    Status(status::Args),
    /// Show configuration objects in force
    Get(get::Args),
    /// Validate objects and write them into the mesh's directory
    Apply(apply::Args),
    /// Remove objects from the mesh's directory
    Delete(delete::Args),
    /// Show what applying files would change (exit code 1: something)
    Diff(diff::Args),
    /// Say what is wrong with files, without a mesh (exit code 1: something is)
    #[command(visible_alias = "v")]
    Validate(validate::Args),
    /// Look for mistakes in files, directories or the running mesh
    Analyze(Box<analyze::Args>),
    /// Say what becomes of a call, and which rule decides (exit code 1: it does not come through)
    Explain(explain::Args),
    /// Run unit tests of mesh configuration
    Test(test::Args),
    /// Run a command inside a workload's network
    Exec(exec::Args),
    /// Add a process to the mesh as a service
    Run(run::Args),
    /// Show the logs of a workload
    Logs(logs::Args),
    /// Show what a workload's proxy is configured with
    #[command(visible_alias = "pc")]
    ProxyConfig(proxy_config::Args),
    /// Show the mesh's certificate authority, and replace its root
    Ca(ca::Args),
    /// Make, list and withdraw the tokens by which proxies elsewhere join
    Token(token::Args),
    /// Run a proxy from an Envoy bootstrap (the data plane)
    Proxy(Box<proxy::Args>),
    /// Run the control plane
    ControlPlane(Box<control_plane::Args>),
    /// Print a shell completion script
    Completion(completion::Args),
    /// Hold the processes of a local mesh (started by `up`)
    #[command(hide = true)]
    Sandbox(sandbox::Args),
    /// Run one of the sample services
    #[command(hide = true)]
    Sample(sample::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Up(args) => up::run(args),
        Command::Down(args) => down::run(args),
        Command::Status(args) => status::run(args),
        Command::Get(args) => get::run(args),
        Command::Apply(args) => apply::run(args),
        Command::Delete(args) => delete::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Validate(args) => validate::run(args),
        Command::Analyze(args) => analyze::run(*args),
        Command::Explain(args) => explain::run(args),
        Command::Test(args) => test::run(args),
        Command::Exec(args) => exec::run(args),
        Command::Run(args) => run::run(args),
        Command::Logs(args) => logs::run(args),
        Command::ProxyConfig(args) => proxy_config::run(args),
        Command::Ca(args) => ca::run(args),
        Command::Token(args) => token::run(args),
        Command::Proxy(args) => proxy::run(*args),
        Command::ControlPlane(args) => control_plane::run(*args),
        Command::Completion(args) => completion::run::<Cli>(args),
        Command::Sandbox(args) => sandbox::run(args),
        Command::Sample(args) => sample::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", output::chain(&error));
        ExitCode::from(error.downcast_ref::<Usage>().map_or(1, |_| 2))
    })
}
