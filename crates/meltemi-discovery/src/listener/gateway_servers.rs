//! Which servers a gateway has: those of all Gateway objects that select it, by the address and
//! port that the proxy listens on.

use std::collections::BTreeMap;

use meltemi_api::networking::{Server, ServerTlsMode, ServerTlsSettings};
use meltemi_registry::{Protocol, Service, ServiceTarget};

use super::server_tls::Place;
use crate::cluster::{self, Discovery};
use crate::hosts;
use crate::issue::Issues;
use crate::names;
use crate::proxy::{Proxy, ProxyKind};
use crate::world::gateway::{ResolvedGateway, Served};
use crate::world::peer_authentication::terminates;
use crate::world::scope::Scope;

/// One server of a Gateway, as it applies to a proxy.
#[derive(Debug, Clone)]
pub struct GatewayServer<'w> {
    pub gateway: &'w ResolvedGateway,
    pub server: &'w Server,
    /// Position in the Gateway.
    pub index: usize,
    /// The port it declares; the listener's may be another one, behind the Service.
    pub number: u16,
    pub protocol: Protocol,
}

impl GatewayServer<'_> {
    /// `NAMESPACE/NAME`, as VirtualServices call it.
    pub fn gateway_name(&self) -> String {
        self.gateway.full_name()
    }

    pub fn tls(&self) -> Option<&ServerTlsSettings> {
        self.server.tls.as_ref()
    }

    pub fn redirects_to_https(&self) -> bool {
        self.tls().is_some_and(|tls| tls.https_redirect)
    }

    /// Ends TLS and speaks HTTP inside.
    pub(super) fn is_https(&self) -> bool {
        self.protocol == Protocol::Https && self.tls().is_some_and(|tls| terminates(tls.mode))
    }

    /// The hosts that a VirtualService of a namespace may serve here.
    pub fn hosts_for(&self, namespace: &str) -> Vec<&str> {
        self.server
            .hosts
            .iter()
            .filter_map(|host| match host.split_once('/') {
                None => Some(host.as_str()),
                Some(("*", host)) => Some(host),
                Some((".", host)) => (namespace == self.gateway.namespace).then_some(host),
                Some((wanted, host)) => (wanted == namespace).then_some(host),
            })
            .collect()
    }

    pub(super) fn sni(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .server
            .hosts
            .iter()
            .map(|host| {
                host.split_once('/')
                    .map_or(host.as_str(), |(_, name)| name)
                    .to_owned()
            })
            .collect();
        if names.iter().any(|name| name == "*") {
            return Vec::new();
        }
        names.sort();
        names.dedup();
        names
    }

    pub(super) fn tls_place(&self) -> Place<'_> {
        Place {
            object: &self.gateway.object,
            path: self.field("tls"),
        }
    }

    /// Connections are passed on to the service that their SNI names.
    pub(super) fn is_auto_passthrough(&self) -> bool {
        self.tls()
            .is_some_and(|tls| tls.mode == ServerTlsMode::AutoPassthrough)
    }

    /// Whether that may be this service: one of the mesh, with endpoints that are known.
    pub(super) fn passes_on_to(&self, service: &Service) -> bool {
        let hosts = self.hosts_for(&service.namespace);
        !service.external
            && cluster::discovery(service, ProxyKind::Gateway) == Discovery::Eds
            && hosts
                .iter()
                .any(|host| hosts::covers(host, &service.hostname))
    }

    pub fn field(&self, name: &str) -> String {
        self.gateway.field(self.index, name)
    }
}

/// The servers on one address and port, and the route configurations of those with HTTP.
#[derive(Debug)]
pub struct GatewayListener<'w> {
    pub bind: String,
    pub port: u16,
    pub servers: Vec<GatewayServer<'w>>,
    /// Route configurations, in the servers' order, with the servers (positions) whose hosts
    /// each holds.
    pub routes: Vec<(String, Vec<usize>)>,
}

/// The services that a gateway's AUTO_PASSTHROUGH servers pass connections on to.
pub fn passed_on<'a>(scope: &'a Scope<'_>, listeners: &[GatewayListener<'_>]) -> Vec<&'a Service> {
    let servers = listeners.iter().flat_map(|listener| &listener.servers);
    let servers: Vec<_> = servers
        .filter(|server| server.is_auto_passthrough())
        .collect();
    let services = scope
        .services
        .values()
        .map(|service| -> &Service { service });
    services
        .filter(|service| servers.iter().any(|server| server.passes_on_to(service)))
        .collect()
}

/// Groups the servers of the selected Gateways by the port that the proxy listens on.
pub fn listeners<'w>(
    scope: &Scope<'w>,
    proxy: &Proxy,
    targets: &[ServiceTarget],
    issues: &mut Issues,
) -> Vec<GatewayListener<'w>> {
    let mut grouped: BTreeMap<(u16, String), Vec<GatewayServer<'w>>> = BTreeMap::new();
    let world = scope.world;
    for gateway in world.gateways.iter().filter(|gateway| {
        let served = &gateway.served;
        served.selects(&proxy.namespace, &proxy.labels, targets)
    }) {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let Some(declared) = &server.port else {
                continue;
            };
            let Ok(number) = u16::try_from(declared.number) else {
                continue;
            };
            let Some(protocol) = Protocol::parse(&declared.protocol) else {
                issues.add(
                    &gateway.object,
                    gateway.field(index, "port.protocol"),
                    format!(
                        "{:?} is not supported; use HTTP, HTTPS, HTTP2, GRPC, TLS, TCP, MONGO",
                        declared.protocol
                    ),
                );
                continue;
            };
            let Some(port) = listen_port(gateway, number, targets) else {
                continue;
            };
            let bind = if server.bind.is_empty() {
                names::WILDCARD.to_owned()
            } else {
                server.bind.clone()
            };
            let server = GatewayServer {
                gateway,
                server,
                index,
                number,
                protocol,
            };
            let group = grouped.entry((port, bind)).or_default();
            let shares = |first: &GatewayServer<'_>| {
                // Nothing tells the connections of two plain TCP servers apart.
                class(first) == class(&server) && class(first) != Class::Tcp
            };
            match group.first() {
                Some(first) if !shares(first) => issues.add(
                    &gateway.object,
                    server.field("port"),
                    format!(
                        "port {port} is served as {} for Gateway {}, which comes first; only plain HTTP with plain HTTP, and TLS with TLS, share a port. Use another port",
                        first.protocol,
                        first.gateway_name()
                    ),
                ),
                _ => group.push(server),
            }
        }
    }
    grouped
        .into_iter()
        .map(|((port, bind), servers)| {
            let mut routes: Vec<(String, Vec<usize>)> = Vec::new();
            for (position, server) in servers.iter().enumerate() {
                let Some(name) = route_name(server, port, &bind) else {
                    continue;
                };
                match routes.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, positions)) => positions.push(position),
                    None => routes.push((name, vec![position])),
                }
            }
            GatewayListener {
                bind,
                port,
                servers,
                routes,
            }
        })
        .collect()
}

/// The port that the proxy listens on for a server's: the Service in front maps one to the other.
fn listen_port(gateway: &ResolvedGateway, number: u16, targets: &[ServiceTarget]) -> Option<u16> {
    let mapped = targets
        .iter()
        .find(|target| target.port.number == number && gateway.served.leads_through(target))
        .map(|target| target.target_port);
    match gateway.served {
        Served::ByServices { .. } => mapped,
        Served::ByLabels { .. } => Some(mapped.unwrap_or(number)),
    }
}

#[derive(PartialEq, Eq)]
enum Class {
    Http,
    Tls,
    Tcp,
}

fn class(server: &GatewayServer<'_>) -> Class {
    let has_tls = server.tls().is_some_and(|tls| !tls.https_redirect);
    if server.protocol.is_http() {
        Class::Http
    } else if server.protocol.is_tls() || has_tls {
        Class::Tls
    } else {
        Class::Tcp
    }
}

fn route_name(server: &GatewayServer<'_>, port: u16, bind: &str) -> Option<String> {
    let suffix = if bind == names::WILDCARD {
        String::new()
    } else {
        format!(".{bind}")
    };
    if server.protocol.is_http() {
        return Some(format!("http.{port}{suffix}"));
    }
    let name = server
        .server
        .port
        .as_ref()
        .map_or("", |port| port.name.as_str());
    server.is_https().then(|| {
        format!(
            "https.{}.{name}.{}.{}{suffix}",
            server.number, server.gateway.name, server.gateway.namespace
        )
    })
}
