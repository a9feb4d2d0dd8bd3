//! What the benchmarks need beside what they measure: for `bench/run` and `bench/budget` upstreams
//! that answer, loads that no common tool makes, and the certificates of the two-hop scenarios; for
//! `bench/push` proxies that ask a control plane. Loopback only.

mod bulk;
mod certificates;
mod connections;
mod grpc;
mod http1;
mod load;
mod proxies;
mod resources;
mod tls;
mod upstream;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(about = "Parts of bench/run, bench/budget and bench/push")]
enum Command {
    /// Answers every GET on 127.0.0.1 with the same body, until it is ended.
    Upstream {
        #[arg(long)]
        port: u16,
        /// Length of the body, bytes.
        #[arg(long, default_value_t = 1024)]
        body: usize,
    },
    /// Answers every gRPC call on 127.0.0.1 with the same message, until it is ended.
    GrpcUpstream {
        #[arg(long)]
        port: u16,
        /// Length of the message, bytes.
        #[arg(long, default_value_t = 1024)]
        message: u32,
    },
    /// The other end of `bulk`, on 127.0.0.1, until it is ended.
    BulkUpstream {
        #[arg(long)]
        port: u16,
    },
    /// Sends GETs to 127.0.0.1 at a constant rate and prints counts and latencies as JSON.
    Load(load::Options),
    /// Moves bytes over one TCP connection to 127.0.0.1.
    Bulk(bulk::Options),
    /// Makes new connections with mutual TLS to 127.0.0.1 and prints how many, as JSON.
    Handshakes(connections::Handshakes),
    /// Holds idle connections to 127.0.0.1 until standard input ends.
    Idle(connections::Idle),
    /// Plays sidecars to a control plane; reads labels of phases, prints figures as JSON.
    Proxies(proxies::Options),
    /// Writes a CA and one SPIFFE workload certificate (P-256) into a directory.
    Certificates { directory: PathBuf },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Upstream { port, body } => upstream::run(port, body),
        Command::GrpcUpstream { port, message } => grpc::upstream(port, message),
        Command::BulkUpstream { port } => bulk::upstream(port),
        Command::Load(options) => load::run(&options),
        Command::Bulk(options) => bulk::run(&options),
        Command::Handshakes(options) => connections::handshakes(&options),
        Command::Idle(options) => connections::idle(&options),
        Command::Proxies(options) => proxies::run(&options),
        Command::Certificates { directory } => certificates::write(&directory),
    }
}
