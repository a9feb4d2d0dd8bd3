//! What a proxy process is started with.

use meltemi_identity::Credential;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// Everything `meltemi proxy` can be told on its command line. [`Options::new`] has Istio's
/// defaults for all but the bootstrap.
#[derive(Debug)]
pub struct Options {
    /// Envoy bootstrap, YAML, JSON or binary protobuf (`-c/--config-path`).
    pub config_path: PathBuf,
    /// Worker threads (`--concurrency`), at least 1. Istio's default is 2.
    pub concurrency: usize,
    /// Network namespace of the workload. Workers and the proxy's own servers live in it,
    /// the main thread stays where the process was started.
    pub netns: Option<OwnedFd>,
    /// Destinations reached from inside `netns` (`--mesh-cidr`); everything else but
    /// loopback is reached through sockets of the host's namespace.
    pub mesh_cidrs: Vec<crate::model::IpPrefix>,
    /// Listeners of the namespace that are also opened in the host's (`--publish`).
    pub publish: Option<Publish>,
    /// Second address of the admin API: a Unix socket (created 0600, replaced if stale).
    pub admin_socket: Option<PathBuf>,
    /// What proves to the CA which workload this is, for its first certificate. The CA is
    /// where the ADS server is.
    pub credential: Option<Credential>,
    /// Verifies a CA that is reached by TLS, until there is a certificate (`--root-cert`, PEM).
    pub root_cert: Option<PathBuf>,
    /// `tracing` filter, e.g. `info` or `meltemi_proxy::listener=debug`.
    pub log_level: String,
    /// From the first signal to closing what is left (Istio's
    /// `terminationDrainDuration`, 5 s).
    pub drain_time: Duration,
    /// How long connections of a removed listener or a replaced filter chain may live on
    /// (Envoy's `--drain-time-s`; Istio's `drainDuration`, 45 s).
    pub listener_drain: Duration,
    /// Bound on downstream connections of the process.
    pub max_connections: u32,
    pub dns: DnsOptions,
    pub servers: ServerPorts,
    /// Overrides of the bootstrap's `node` (`--service-node`, `--service-cluster`).
    pub service_node: Option<String>,
    pub service_cluster: Option<String>,
    /// Unix socket where a process that takes this one's place finds it, and this one finds
    /// the process whose place it takes (`--hot-restart-socket`).
    pub hot_restart: Option<PathBuf>,
    /// Envoy's binary, to serve the traffic in our place (`--envoy`).
    pub envoy: Option<PathBuf>,
    /// Gives memory that the allocator holds for nobody back to the kernel.
    pub release_memory: fn(),
}

impl Options {
    pub fn new(config_path: impl Into<PathBuf>) -> Self {
        Self {
            config_path: config_path.into(),
            concurrency: 2,
            netns: None,
            mesh_cidrs: Vec::new(),
            publish: None,
            admin_socket: None,
            credential: None,
            root_cert: None,
            log_level: "info".into(),
            drain_time: Duration::from_secs(5),
            listener_drain: Duration::from_secs(45),
            max_connections: 100_000,
            dns: DnsOptions::default(),
            servers: ServerPorts::default(),
            service_node: None,
            service_cluster: None,
            hot_restart: None,
            envoy: None,
            release_memory: || {},
        }
    }
}

/// `--publish ADDRESS[,REAL=PUBLISHED...]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    pub address: IpAddr,
    /// (port of the listener, port in the host's namespace); others keep their port.
    pub ports: Vec<(u16, u16)>,
}

impl Publish {
    /// Port that a listener's port is published on.
    pub fn port(&self, real: u16) -> u16 {
        self.ports
            .iter()
            .find(|(from, _)| *from == real)
            .map_or(real, |(_, to)| *to)
    }
}

impl std::str::FromStr for Publish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let address = parts.next().unwrap_or_default();
        let address = address.parse().map_err(|_| {
            format!(
                "`{address}` is not an IP address; expected ADDRESS[,REAL=PUBLISHED...], e.g. 127.0.0.1,8080=80"
            )
        })?;
        let port =
            |text: &str, whole: &str| {
                text.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(|| {
                format!("`{whole}`: `{text}` is not a port; expected REAL=PUBLISHED, e.g. 8080=80")
            })
            };
        let mut ports: Vec<(u16, u16)> = Vec::new();
        for part in parts {
            let (real, published) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` is not REAL=PUBLISHED, e.g. 8080=80"))?;
            let (real, published) = (port(real, part)?, port(published, part)?);
            if let Some((other, _)) = ports
                .iter()
                .find(|(from, to)| *to == published && *from != real)
            {
                return Err(format!(
                    "ports {other} and {real} are both published on {published}; give one of them another port"
                ));
            }
            ports.push((real, published));
        }
        Ok(Self { address, ports })
    }
}

/// The DNS server of the namespace.
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// `None` turns it off (`--dns-listen`, Istio's 127.0.0.1:15053).
    pub listen: Option<SocketAddr>,
    pub unknown: UnknownNames,
    /// Where the forwarder finds its resolvers.
    pub resolv_conf: PathBuf,
}

impl Default for DnsOptions {
    fn default() -> Self {
        Self {
            listen: None,
            unknown: UnknownNames::Forward,
            resolv_conf: "/etc/resolv.conf".into(),
        }
    }
}

/// What the DNS server does with names that the mesh does not know (`--dns-unknown`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownNames {
    /// Ask the host's resolvers.
    Forward,
    /// Answer REFUSED.
    Refuse,
}

/// The proxy's own HTTP servers inside the namespace; `None` turns one off.
#[derive(Clone, Debug, Default)]
pub struct ServerPorts {
    /// Overrides the bootstrap's `admin` address.
    pub admin: Option<SocketAddr>,
    /// `/healthz/ready` (15021).
    pub health: Option<SocketAddr>,
    /// Merged metrics and the agent's endpoints (15020).
    pub agent: Option<SocketAddr>,
    /// The proxy's own metrics (15090).
    pub prometheus: Option<SocketAddr>,
    /// The application's metrics that 15020 merges (`prometheus.io/*` annotations).
    pub application_metrics: Option<ApplicationMetrics>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationMetrics {
    pub port: u16,
    /// `/metrics` unless annotated.
    pub path: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publish_is_parsed_and_its_mistakes_are_named() {
        let publish: Publish = "127.0.0.1,8080=18080,8443=18443".parse().unwrap();
        assert_eq!(publish.port(8080), 18080);
        assert_eq!(publish.port(15021), 15021);
        for (text, word) in [
            ("localhost", "IP address"),
            ("127.0.0.1,80", "REAL=PUBLISHED"),
            ("127.0.0.1,80=0", "not a port"),
            ("127.0.0.1,80=81,90=81", "both published on 81"),
        ] {
            let error = text.parse::<Publish>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
