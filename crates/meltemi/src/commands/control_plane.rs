//! `meltemi control-plane`: configuration in, xDS and certificates out.

use super::{Outcome, block_on, log_to_stderr};
use anyhow::Context;
use meltemi_discovery::control_plane::{self, Options};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(clap::Args)]
pub struct Args {
    /// Directory of Istio and Kubernetes YAML; edits are written here
    #[arg(long, value_name = "DIR")]
    config_dir: PathBuf,
    /// Run directory of a local mesh: sets all sockets and directories below that are not given
    #[arg(long, value_name = "DIR", help_heading = "Local mesh")]
    run_dir: Option<PathBuf>,
    /// Cluster IPs of Services that name none, a /16
    #[arg(long, value_name = "PREFIX")]
    service_cidr: Option<meltemi_registry::Range16>,
    /// Further directory whose objects are the platform's: Pods with their status
    #[arg(long, value_name = "DIR")]
    platform_dir: Vec<PathBuf>,
    /// Where keys are kept (default: .meltemi in the configuration directory)
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// One-time credentials of local workloads
    #[arg(long, value_name = "DIR", help_heading = "Local mesh")]
    credentials_dir: Option<PathBuf>,
    /// Admin sockets of local proxies
    #[arg(long, value_name = "DIR", help_heading = "Local mesh")]
    admin_dir: Option<PathBuf>,
    /// Unix socket for xDS and certificates
    #[arg(long, value_name = "PATH", help_heading = "Local mesh")]
    xds_socket: Option<PathBuf>,
    /// Unix socket of the API
    #[arg(long, value_name = "PATH")]
    api_socket: Option<PathBuf>,
    /// Serve xDS without TLS here (usually 127.0.0.1:15010)
    #[arg(long, value_name = "ADDRESS")]
    plaintext_address: Option<SocketAddr>,
    /// Serve xDS and certificates over TLS here (usually 0.0.0.0:15012)
    #[arg(long, value_name = "ADDRESS")]
    tls_address: Option<SocketAddr>,
    /// Trust domain (default: MeshConfig's, else cluster.local)
    #[arg(long, value_name = "DOMAIN")]
    trust_domain: Option<String>,
    /// Cluster that endpoints are in, for topology labels
    #[arg(long, value_name = "ID", default_value = "Kubernetes")]
    cluster_id: String,
    /// Plugged-in CA: a directory laid out as Istio's cacerts
    #[arg(long, value_name = "DIR")]
    cacerts: Option<PathBuf>,
    /// Lifetime of workload certificates
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = super::duration)]
    cert_ttl: Duration,
    /// Log filter, as RUST_LOG
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "info",
        env = "MELTEMI_LOG"
    )]
    log_level: String,
}

pub fn run(args: Args) -> Outcome {
    log_to_stderr(&args.log_level);
    crate::allocator::purge_at_once();
    // A misspelt one would be made, for the state in it.
    std::fs::read_dir(&args.config_dir)
        .with_context(|| format!("cannot read {}", args.config_dir.display()))?;
    meltemi_proxy::raise_file_limit();
    let state_dir = args
        .state_dir
        .unwrap_or_else(|| args.config_dir.join(".meltemi"));
    let in_run = |name: &str| args.run_dir.as_ref().map(|run| run.join(name));
    let mut platform_dirs = args.platform_dir;
    platform_dirs.extend(in_run("pods"));
    platform_dirs.extend(in_run("builtin"));
    let defaults = Options::new(&args.config_dir, &state_dir);
    let options = Options {
        platform_dirs,
        credentials_dir: args.credentials_dir.or_else(|| in_run("credentials")),
        admin_dir: args.admin_dir.or_else(|| in_run("admin")),
        xds_socket: args.xds_socket.or_else(|| in_run("xds.sock")),
        api_socket: args.api_socket.or_else(|| in_run("api.sock")),
        service_range: args.service_cidr.unwrap_or(defaults.service_range),
        plaintext_address: args.plaintext_address,
        tls_address: args.tls_address,
        trust_domain: args.trust_domain,
        cluster_id: args.cluster_id,
        cacerts: args.cacerts,
        certificate_ttl: args.cert_ttl,
        ..defaults
    };
    block_on(async move {
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            stop.cancel();
        });
        control_plane::run(options, shutdown).await?;
        Ok(ExitCode::SUCCESS)
    })
}
