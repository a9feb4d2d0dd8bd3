//! The command lines of the mesh's own processes.

use super::context::Context;
use crate::sandbox::{EXTRA_FD, NETNS_FD};
use crate::settings::LocalMesh;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// `meltemi control-plane` over this mesh's directories.
pub(crate) fn control_plane(ctx: &Context, settings: &LocalMesh) -> Vec<String> {
    let mut argv = own(ctx, "control-plane");
    option(&mut argv, "--config-dir", ctx.paths.config.display());
    option(&mut argv, "--run-dir", ctx.paths.run.display());
    option(&mut argv, "--state-dir", ctx.paths.state.display());
    option(&mut argv, "--service-cidr", settings.network.services);
    argv.extend(ctx.control_plane_args.iter().cloned());
    argv
}

/// What tells one workload's proxy from another's.
pub(crate) struct Proxy<'a> {
    pub bootstrap: &'a Path,
    pub admin: &'a Path,
    /// In a mesh without namespaces: the pod's address.
    pub loopback: Option<Ipv4Addr>,
    /// A sidecar captures its application's DNS; a gateway has no application.
    pub dns: bool,
    /// Listener ports and their ports on the host.
    pub publish: &'a [(u16, u16)],
    pub address: IpAddr,
    /// Envoy's binary, to serve the traffic.
    pub envoy: Option<&'a Path>,
    /// The application's own metrics: port and path.
    pub metrics: Option<(u16, String)>,
}

/// `meltemi proxy` for one workload; its namespace and credential are inherited descriptors.
pub(crate) fn proxy(ctx: &Context, settings: &LocalMesh, proxy: &Proxy<'_>) -> Vec<String> {
    let mut argv = own(ctx, "proxy");
    option(&mut argv, "--config-path", proxy.bootstrap.display());
    option(&mut argv, "--credential-fd", EXTRA_FD);
    option(&mut argv, "--admin-socket", proxy.admin.display());
    if let Some(envoy) = proxy.envoy {
        option(&mut argv, "--envoy", envoy.display());
    }
    match proxy.loopback {
        // No merged metrics: beside them is the order to end, for every user of the machine.
        Some(address) => {
            option(&mut argv, "--health-listen", format!("{address}:15021"));
            option(&mut argv, "--prometheus-listen", format!("{address}:15090"));
        }
        None => in_namespace(&mut argv, settings, proxy),
    }
    if !proxy.publish.is_empty() {
        let ports: Vec<String> = proxy
            .publish
            .iter()
            .map(|(real, published)| format!("{real}={published}"))
            .collect();
        option(
            &mut argv,
            "--publish",
            format!("{},{}", proxy.address, ports.join(",")),
        );
    }
    argv
}

fn in_namespace(argv: &mut Vec<String>, settings: &LocalMesh, proxy: &Proxy<'_>) {
    option(argv, "--netns-fd", NETNS_FD);
    for range in settings.network.mesh().ranges() {
        option(argv, "--mesh-cidr", range);
    }
    if proxy.dns {
        option(argv, "--dns-listen", "127.0.0.1:15053");
        option(argv, "--dns-unknown", settings.dns.unknown.as_str());
    }
    // Istio's ports, on every address of the workload's namespace.
    option(argv, "--health-listen", "0.0.0.0:15021");
    option(argv, "--agent-listen", "0.0.0.0:15020");
    option(argv, "--prometheus-listen", "0.0.0.0:15090");
    if let Some((port, path)) = &proxy.metrics {
        let path = path.trim_start_matches('/');
        option(argv, "--application-metrics", format!("{port}/{path}"));
    }
}

fn own(ctx: &Context, command: &str) -> Vec<String> {
    vec![
        ctx.executable.to_string_lossy().into_owned(),
        command.to_owned(),
    ]
}

fn option(argv: &mut Vec<String>, name: &str, value: impl std::fmt::Display) {
    argv.extend([name.to_owned(), value.to_string()]);
}

/// Where the application has metrics to merge (`prometheus.io/*`), as Istio's agent reads it.
pub(crate) fn application_metrics(annotations: &BTreeMap<String, String>) -> Option<(u16, String)> {
    let get = |name: &str| {
        annotations
            .get(&format!("prometheus.io/{name}"))
            .map(String::as_str)
    };
    if get("scrape") != Some("true") {
        return None;
    }
    let port = get("port").unwrap_or("80").parse().ok()?;
    Some((port, get("path").unwrap_or("/metrics").to_owned()))
}
