//! What the benchmark (`bench/run`) needs beside the proxies: an upstream that answers, an
//! open-loop load, and the certificates of the two-hop scenario. Loopback only.

mod certificates;
mod load;
mod upstream;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(about = "Parts of bench/run: upstream, load, certificates")]
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
    /// Writes a CA and one SPIFFE workload certificate (P-256) into a directory.
    Certificates { directory: PathBuf },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Upstream { port, body } => upstream::run(port, body),
        Command::Load(options) => load::run(&options),
        Command::Certificates { directory } => certificates::write(&directory),
    }
}
