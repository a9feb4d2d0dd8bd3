//! `meltemi proxy`: the data plane, from an Envoy bootstrap.

#![expect(unsafe_code, reason = "a descriptor that the parent handed over")]

use super::Outcome;
use anyhow::ensure;
use clap::ValueEnum;
use meltemi_proxy::model::IpPrefix;
use meltemi_proxy::{ApplicationMetrics, Credential, Options, Publish, UnknownNames};
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    /// Envoy bootstrap: YAML, JSON, or binary protobuf (.pb)
    #[arg(short, long, value_name = "FILE")]
    config_path: PathBuf,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Network namespace to serve in, as an inherited descriptor
    #[arg(long, value_name = "FD", help_heading = "Local mesh")]
    netns_fd: Option<RawFd>,
    /// Destinations reached from inside the namespace; all others are reached through the host's
    #[arg(long, value_name = "PREFIX", value_parser = prefix, help_heading = "Local mesh")]
    mesh_cidr: Vec<IpPrefix>,
    /// Open every listener on this host address too, on its own port unless mapped
    #[arg(
        long,
        value_name = "ADDRESS[,REAL=PUBLISHED...]",
        help_heading = "Local mesh"
    )]
    publish: Option<Publish>,
    /// Unix socket of the admin API, beside the bootstrap's address
    #[arg(long, value_name = "PATH")]
    admin_socket: Option<PathBuf>,
    /// Inherited descriptor to read the one-time credential for the CA from
    #[arg(long, value_name = "FD", help_heading = "Local mesh")]
    credential_fd: Option<RawFd>,
    /// File with a join token (`meltemi token create`): get the first certificate from the CA,
    /// which is where the bootstrap's ADS server is
    #[arg(long, value_name = "FILE", conflicts_with = "credential_fd")]
    token_file: Option<PathBuf>,
    /// File with the mesh's root certificate (`meltemi ca root`), to verify a CA reached by TLS
    #[arg(long, value_name = "FILE", requires = "token_file")]
    root_cert: Option<PathBuf>,
    /// Log filter, as RUST_LOG
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "info",
        env = "MELTEMI_LOG"
    )]
    log_level: String,
    /// How long connections may finish after the first signal
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    drain_time: u64,
    /// How long connections of removed listeners and replaced filter chains may live on
    #[arg(long, value_name = "SECONDS", default_value_t = 45)]
    listener_drain_time: u64,
    /// Bound on downstream connections
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    max_connections: u32,
    /// Answer DNS here (usually 127.0.0.1:15053)
    #[arg(long, value_name = "ADDRESS")]
    dns_listen: Option<SocketAddr>,
    /// Names that the mesh does not know
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Unknown::Forward)]
    dns_unknown: Unknown,
    /// Serve /healthz/ready here (usually 0.0.0.0:15021)
    #[arg(long, value_name = "ADDRESS")]
    health_listen: Option<SocketAddr>,
    /// Serve merged metrics here (usually 0.0.0.0:15020)
    #[arg(long, value_name = "ADDRESS")]
    agent_listen: Option<SocketAddr>,
    /// Serve the proxy's own metrics here (usually 0.0.0.0:15090)
    #[arg(long, value_name = "ADDRESS")]
    prometheus_listen: Option<SocketAddr>,
    /// Port and path of the application's metrics
    #[arg(long, value_name = "PORT[/PATH]", value_parser = application_metrics)]
    application_metrics: Option<ApplicationMetrics>,
    /// Overrides node.id of the bootstrap
    #[arg(long, value_name = "ID")]
    service_node: Option<String>,
    /// Overrides node.cluster of the bootstrap
    #[arg(long, value_name = "NAME")]
    service_cluster: Option<String>,
    /// Unix socket for hot restarts: a process started with the same command line takes the
    /// place of the running one, without a refused connection
    #[arg(long, value_name = "PATH", conflicts_with = "envoy")]
    hot_restart_socket: Option<PathBuf>,
    /// Serve the traffic by this Envoy; identity, DNS and health stay here
    #[arg(long, value_name = "BINARY")]
    envoy: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Unknown {
    /// Ask the host's resolvers
    Forward,
    /// Answer REFUSED
    Refuse,
}

pub fn run(args: Args) -> Outcome {
    let mut options = Options::new(args.config_path);
    options.concurrency = args.concurrency.into();
    options.netns = args.netns_fd.map(inherited).transpose()?;
    options.mesh_cidrs = args.mesh_cidr;
    options.publish = args.publish;
    options.admin_socket = args.admin_socket;
    options.credential = match (args.token_file, args.credential_fd) {
        (Some(file), _) => Some(Credential::File(file)),
        (None, Some(fd)) => Some(Credential::read(
            File::from(inherited(fd)?),
            "the credential",
        )?),
        (None, None) => None,
    };
    options.root_cert = args.root_cert;
    options.log_level = args.log_level;
    options.drain_time = Duration::from_secs(args.drain_time);
    options.release_memory = crate::allocator::release;
    options.listener_drain = Duration::from_secs(args.listener_drain_time);
    options.max_connections = args.max_connections;
    options.dns.listen = args.dns_listen;
    options.dns.unknown = match args.dns_unknown {
        Unknown::Forward => UnknownNames::Forward,
        Unknown::Refuse => UnknownNames::Refuse,
    };
    options.servers.health = args.health_listen;
    options.servers.agent = args.agent_listen;
    options.servers.prometheus = args.prometheus_listen;
    options.servers.application_metrics = args.application_metrics;
    options.service_node = args.service_node;
    options.service_cluster = args.service_cluster;
    options.hot_restart = args.hot_restart_socket;
    options.envoy = args.envoy;
    meltemi_proxy::run(options)?;
    Ok(ExitCode::SUCCESS)
}

/// Takes over a descriptor that the parent process passed.
fn inherited(fd: RawFd) -> anyhow::Result<OwnedFd> {
    ensure!(
        fd > 2,
        "descriptor {fd} is not one to pass: it is a standard stream"
    );
    // SAFETY: F_GETFD touches nothing; it only tells whether the descriptor is open.
    let open = unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
    ensure!(open, "descriptor {fd} was not passed to this process");
    // SAFETY: it is open, and the command line gives it to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn prefix(text: &str) -> Result<IpPrefix, String> {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("\"{address}\" is no IP address"))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        "" => most,
        length => length
            .parse()
            .ok()
            .filter(|length| *length <= most)
            .ok_or_else(|| format!("\"{length}\" is no prefix length of 0 to {most}"))?,
    };
    Ok(IpPrefix { address, length })
}

fn application_metrics(text: &str) -> Result<ApplicationMetrics, String> {
    let at = text.find('/').unwrap_or(text.len());
    let port = text[..at]
        .parse()
        .map_err(|_| format!("\"{}\" is no port", &text[..at]))?;
    let path = if at == text.len() {
        "/metrics"
    } else {
        &text[at..]
    };
    Ok(ApplicationMetrics {
        port,
        path: path.to_owned(),
    })
}
