//! A gateway's listeners: the servers of all Gateway objects that select it, by port.

use std::collections::BTreeMap;

use meltemi_api::networking::{Gateway, Server, ServerTlsMode, ServerTlsSettings};
use meltemi_registry::{Protocol, ServiceTarget, matches};

use super::filters::{self, Side};
use super::hcm::{self, Routes};
use super::l4::{self, Chain};
use super::server_tls::{Place, terminate};
use super::{access_log, tcp};
use crate::hosts;
use crate::issue::Issues;
use crate::names;
use crate::pb::{self, core, listener};
use crate::proxy::Proxy;
use crate::world::named::Named;
use crate::world::peer_authentication::terminates;
use crate::world::scope::Scope;
use crate::world::virtual_service::ResolvedVirtualService;

/// One server of a Gateway, as it applies to a proxy.
#[derive(Debug, Clone)]
pub struct GatewayServer<'w> {
    pub gateway: &'w Named<Gateway>,
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
        format!("{}/{}", self.gateway.namespace(), self.gateway.name())
    }

    pub fn tls(&self) -> Option<&ServerTlsSettings> {
        self.server.tls.as_ref()
    }

    pub fn redirects_to_https(&self) -> bool {
        self.tls().is_some_and(|tls| tls.https_redirect)
    }

    /// Ends TLS and speaks HTTP inside.
    fn is_https(&self) -> bool {
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
                Some((".", host)) => (namespace == self.gateway.namespace()).then_some(host),
                Some((wanted, host)) => (wanted == namespace).then_some(host),
            })
            .collect()
    }

    fn sni(&self) -> Vec<String> {
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

    fn tls_place(&self) -> Place<'_> {
        Place {
            object: &self.gateway.key,
            path: self.field("tls"),
        }
    }

    pub fn field(&self, name: &str) -> String {
        format!("spec.servers[{}].{name}", self.index)
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

/// Groups the servers of the selected Gateways by the port that the proxy listens on.
pub fn listeners<'w>(
    scope: &Scope<'w>,
    proxy: &Proxy,
    targets: &[ServiceTarget],
    issues: &mut Issues,
) -> Vec<GatewayListener<'w>> {
    let mut grouped: BTreeMap<(u16, String), Vec<GatewayServer<'w>>> = BTreeMap::new();
    let world = scope.world;
    for gateway in world
        .gateways
        .iter()
        .filter(|gateway| selects(gateway, proxy))
    {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let Some(declared) = &server.port else {
                continue;
            };
            let Ok(number) = u16::try_from(declared.number) else {
                continue;
            };
            let Some(protocol) = Protocol::parse(&declared.protocol) else {
                issues.add(
                    &gateway.key,
                    format!("spec.servers[{index}].port.protocol"),
                    format!(
                        "{:?} is not supported; use HTTP, HTTPS, HTTP2, GRPC, TLS, TCP, MONGO",
                        declared.protocol
                    ),
                );
                continue;
            };
            let Some(port) = listen_port(gateway, number, proxy, targets) else {
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
                    &gateway.key,
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

/// Names a Gateway's Services instead of a selector (host names, comma-separated): the pods of
/// these serve it, at these Services' ports only.
const GATEWAY_SERVICE: &str = "internal.istio.io/gateway-service";

fn selects(gateway: &Named<Gateway>, proxy: &Proxy) -> bool {
    match gateway.annotations.get(GATEWAY_SERVICE) {
        Some(_) => gateway.namespace() == proxy.namespace,
        None => matches(&gateway.spec.selector, &proxy.labels),
    }
}

/// The port that the proxy listens on for a server's: the Service in front maps one to the other.
fn listen_port(
    gateway: &Named<Gateway>,
    number: u16,
    proxy: &Proxy,
    targets: &[ServiceTarget],
) -> Option<u16> {
    let mut candidates = targets.iter().filter(|target| target.port.number == number);
    match gateway.annotations.get(GATEWAY_SERVICE) {
        Some(services) => candidates
            .find(|target| {
                target.service.namespace == proxy.namespace
                    && services
                        .split(',')
                        .any(|service| *service == *target.service.hostname)
            })
            .map(|target| target.target_port),
        None => Some(
            candidates
                .next()
                .map_or(number, |target| target.target_port),
        ),
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
            server.number,
            server.gateway.name(),
            server.gateway.namespace()
        )
    })
}

pub fn translate(
    scope: &Scope<'_>,
    proxy: &Proxy,
    gateways: &[GatewayListener<'_>],
    issues: &mut Issues,
) -> Vec<listener::Listener> {
    gateways
        .iter()
        .filter_map(|gateway| write(scope, proxy, gateway, issues))
        .collect()
}

fn write(
    scope: &Scope<'_>,
    proxy: &Proxy,
    gateway: &GatewayListener<'_>,
    issues: &mut Issues,
) -> Option<listener::Listener> {
    let mesh = &scope.world.mesh;
    let mut chains: Vec<listener::FilterChain> = Vec::new();
    let mut plain: Vec<Chain> = Vec::new();
    for (name, positions) in &gateway.routes {
        let server = &gateway.servers[*positions.first()?];
        let manager = hcm::filter(
            scope,
            proxy,
            Side::Gateway,
            format!("outbound_{}_{};", gateway.bind, gateway.port),
            Routes::Named(name.clone()),
        );
        let mut chain = super::chain(vec![manager]);
        if server.is_https() {
            chain.filter_chain_match = server_names(server.sni());
            if let Some(tls) = server.tls() {
                let Some(socket) = terminate(scope, proxy, &server.tls_place(), tls, true, issues)
                else {
                    continue;
                };
                chain.transport_socket = Some(socket);
            }
        }
        chains.push(chain);
    }
    for server in gateway
        .servers
        .iter()
        .filter(|server| !server.protocol.is_http() && !server.is_https())
    {
        match server.tls() {
            Some(settings) if settings.mode == ServerTlsMode::AutoPassthrough => issues.add(
                &server.gateway.key,
                server.field("tls.mode"),
                "AUTO_PASSTHROUGH (multi-cluster) is not supported; use PASSTHROUGH with a VirtualService. The server is not opened",
            ),
            Some(settings) if terminates(settings.mode) && !settings.https_redirect => {
                let Some(socket) = terminate(scope, proxy, &server.tls_place(), settings, false, issues) else {
                    continue;
                };
                let mut routed = Vec::new();
                tcp_routes(scope, proxy, server, &mut routed, issues);
                if let Some(chain) = routed.into_iter().next() {
                    let mut chain = chain.build();
                    chain.filter_chain_match = server_names(server.sni());
                    chain.transport_socket = Some(socket);
                    chains.push(chain);
                }
            }
            _ if server.protocol.is_tls() => {
                tls_routes(scope, proxy, server, &mut plain, issues);
            }
            _ => tcp_routes(scope, proxy, server, &mut plain, issues),
        }
    }
    let needs_sni = plain.iter().any(|chain| !chain.sni.is_empty())
        || chains.iter().any(|chain| chain.transport_socket.is_some());
    chains.extend(plain.into_iter().map(Chain::build));
    unique(&mut chains, gateway, issues);
    if chains.is_empty() {
        return None;
    }
    // Where all share one network, every address is everybody's.
    let bind = match (&proxy.loopback, proxy.ips.first()) {
        (Some(_), Some(own)) if gateway.bind == names::WILDCARD => own.to_string(),
        _ => gateway.bind.clone(),
    };
    let (address, additional_addresses) = super::addresses(proxy, &bind, gateway.port);
    Some(listener::Listener {
        name: names::listener(&gateway.bind, gateway.port),
        address: Some(address),
        additional_addresses,
        access_log: access_log::listener(&mesh.config),
        filter_chains: chains,
        listener_filters: if needs_sni {
            vec![filters::tls_inspector()]
        } else {
            Vec::new()
        },
        max_connections_to_accept_per_socket_event: pb::u32v(1),
        traffic_direction: core::TrafficDirection::Outbound as i32,
        ..Default::default()
    })
}

/// Two chains for the same names would make the proxy refuse the listener: the first counts.
fn unique(
    chains: &mut Vec<listener::FilterChain>,
    gateway: &GatewayListener<'_>,
    issues: &mut Issues,
) {
    let mut seen: Vec<Option<listener::FilterChainMatch>> = Vec::new();
    chains.retain(|chain| {
        let known = seen.contains(&chain.filter_chain_match);
        if known && let Some(server) = gateway.servers.last() {
            issues.add(
                &server.gateway.key,
                server.field("hosts"),
                format!(
                    "another server on port {} has the same hosts; only the first is served. Use different hosts",
                    gateway.port
                ),
            );
        }
        seen.push(chain.filter_chain_match.clone());
        !known
    });
}

fn server_names(names: Vec<String>) -> Option<listener::FilterChainMatch> {
    (!names.is_empty()).then(|| listener::FilterChainMatch {
        server_names: names,
        ..Default::default()
    })
}

/// The VirtualServices of a server.
pub fn virtual_services<'a, 'w: 'a>(
    scope: &'a Scope<'w>,
    server: &'a GatewayServer<'w>,
) -> impl Iterator<Item = &'w ResolvedVirtualService> + 'a {
    let name = server.gateway_name();
    scope
        .world
        .virtual_services
        .iter()
        .map(|service| &**service)
        .filter(move |service| {
            service.gateways.contains(&name) && service.visibility.includes(&scope.namespace)
        })
}

fn tls_routes(
    scope: &Scope<'_>,
    proxy: &Proxy,
    server: &GatewayServer<'_>,
    chains: &mut Vec<Chain>,
    issues: &mut Issues,
) {
    let gateway = server.gateway_name();
    for service in virtual_services(scope, server) {
        let allowed = server.hosts_for(&service.key.namespace);
        for (index, route) in service.spec.tls.iter().enumerate() {
            for (position, matching) in route.matches.iter().enumerate() {
                let applies = service.gateway_matches(&matching.gateways, &gateway)
                    && (matching.port == 0 || matching.port == u32::from(server.number))
                    && scope.is_source(&matching.source_labels, &matching.source_namespace);
                let mut sni: Vec<String> = matching
                    .sni_hosts
                    .iter()
                    .filter(|name| allowed.iter().any(|host| hosts::overlap(host, name)))
                    .cloned()
                    .collect();
                if !applies || sni.is_empty() {
                    continue;
                }
                sni.sort();
                let config = tcp::to_destinations(
                    scope,
                    service,
                    &route.route,
                    server.number,
                    &format!("spec.tls[{index}]"),
                    issues,
                );
                l4::push(
                    chains,
                    Chain {
                        sni,
                        subnets: matching.destination_subnets.clone(),
                        filters: tcp::chain(proxy, Side::Gateway, &config),
                        metadata: Some(l4::rule(
                            &service.key,
                            format!("spec.tls[{index}].match[{position}]"),
                        )),
                    },
                );
            }
        }
    }
}

fn tcp_routes(
    scope: &Scope<'_>,
    proxy: &Proxy,
    server: &GatewayServer<'_>,
    chains: &mut Vec<Chain>,
    issues: &mut Issues,
) {
    let gateway = server.gateway_name();
    for service in virtual_services(scope, server) {
        let allowed = server.hosts_for(&service.key.namespace);
        let hosts = &service.spec.hosts;
        if !hosts
            .iter()
            .any(|host| allowed.iter().any(|a| hosts::overlap(a, host)))
        {
            continue;
        }
        for (index, route) in service.spec.tcp.iter().enumerate() {
            let matching = route.matches.iter().find(|matching| {
                service.gateway_matches(&matching.gateways, &gateway)
                    && (matching.port == 0 || matching.port == u32::from(server.number))
                    && scope.is_source(&matching.source_labels, &matching.source_namespace)
            });
            let subnets = match (matching, route.matches.is_empty()) {
                (None, false) => continue,
                (None, true) => Vec::new(),
                (Some(matching), _) => matching.destination_subnets.clone(),
            };
            let config = tcp::to_destinations(
                scope,
                service,
                &route.route,
                server.number,
                &format!("spec.tcp[{index}]"),
                issues,
            );
            l4::push(
                chains,
                Chain {
                    sni: Vec::new(),
                    subnets,
                    filters: tcp::chain(proxy, Side::Gateway, &config),
                    metadata: Some(l4::rule(&service.key, format!("spec.tcp[{index}]"))),
                },
            );
        }
    }
}
