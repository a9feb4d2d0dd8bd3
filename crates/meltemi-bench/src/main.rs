//! What the benchmarks need beside what they measure: for `bench/run` an upstream that answers,
//! an open-loop load, and the certificates of the two-hop scenario; for `bench/push` proxies
//! that ask a control plane. Loopback only.

mod certificates;
mod load;
mod proxies;
mod resources;
mod upstream;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(about = "Parts of bench/run and bench/push")]
enum Command {
    /// Answers every GET on 127.0.0.1 with the same body, until it is ended.
    Upstream {
        #[arg(long)]
        port: u16,
        /// Length of the body, bytes.
        #[arg(long, default_value_t = 1024)]
        body: usize,
    },
    /// Sends GETs to 127.0.0.1 at a constant rate and prints counts and latencies as JSON.
    Load(load::Options),
    /// Plays sidecars to a control plane; reads labels of phases, prints figures as JSON.
    Proxies(proxies::Options),
    /// Writes a CA and one SPIFFE workload certificate (P-256) into a directory.
    Certificates { directory: PathBuf },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Upstream { port, body } => upstream::run(port, body),
        Command::Load(options) => load::run(&options),
        Command::Proxies(options) => proxies::run(&options),
        Command::Certificates { directory } => certificates::write(&directory),
    }
}
