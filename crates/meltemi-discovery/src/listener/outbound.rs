//! A sidecar's outbound listeners: `virtualOutbound`, which takes all redirected connections,
//! and the unbound ones that it hands them to by original destination.

use std::collections::BTreeMap;
use std::time::Duration;

use meltemi_api::networking::CaptureMode;
use meltemi_registry::{Port, Protocol, Provider, Resolution, Service, Target};

use super::filters::{self, Side};
use super::hcm::{self, Routes};
use super::l4::{self, Chain};
use super::{access_log, tcp};
use crate::dynamic;
use crate::issue::Issues;
use crate::names;
use crate::pb::{self, core, listener, route};
use crate::proxy::Proxy;
use crate::world::mesh::{Mesh, OutboundPolicy};
use crate::world::scope::{Egress, Scope};

/// An HTTP listener and the name of its route configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpListener {
    pub route_name: String,
    pub port: u16,
    /// Set where the listener is one service's only.
    pub service: Option<String>,
    /// Position of the egress listener whose services it routes to.
    pub egress: usize,
}

/// What a listener at an address and port consists of, until it is written.
#[derive(Default)]
struct Entry {
    http: Option<HttpListener>,
    chains: Vec<Chain>,
    /// Binds its port because no redirection leads to it.
    bound: bool,
}

/// Address (or Unix socket) and port; ports first, so that listeners come in a stable order.
type Key = (u16, String);

pub fn translate(
    scope: &Scope<'_>,
    proxy: &Proxy,
    issues: &mut Issues,
) -> (Vec<listener::Listener>, Vec<HttpListener>) {
    let mut entries: BTreeMap<Key, Entry> = BTreeMap::new();
    for (position, egress) in scope.egress.iter().enumerate() {
        for service in &egress.services {
            for port in &service.ports {
                if port.protocol != Protocol::Udp {
                    add(
                        &mut entries,
                        scope,
                        proxy,
                        (position, egress),
                        service,
                        port,
                        issues,
                    );
                }
            }
        }
    }
    let mut http = Vec::new();
    let mut listeners = Vec::with_capacity(entries.len() + 1);
    for ((port, bind), entry) in entries {
        if let Some(found) = &entry.http {
            http.push(found.clone());
        }
        listeners.push(write(scope, proxy, &bind, port, entry));
    }
    http.dedup_by(|a, b| a.route_name == b.route_name);
    if proxy.intercepts {
        listeners.push(virtual_outbound(scope, proxy));
    }
    (listeners, http)
}

fn add(
    entries: &mut BTreeMap<Key, Entry>,
    scope: &Scope<'_>,
    proxy: &Proxy,
    (position, egress): (usize, &Egress<'_>),
    service: &Service,
    port: &Port,
    issues: &mut Issues,
) {
    // A listener with a port of its own carries all its services there.
    let listen_port = match &egress.port {
        Some(own) => match u16::try_from(own.number) {
            Ok(number) => {
                if number != 0 && service.ports.len() > 1 && port.number != number {
                    return;
                }
                number
            }
            Err(_) => return,
        },
        None => port.number,
    };
    let protocol = match &egress.port {
        Some(own) => Protocol::parse(&own.protocol).unwrap_or(port.protocol),
        None => port.protocol,
    };
    let addresses = addresses(service, proxy);
    let (ranges, singles): (Vec<String>, Vec<String>) = addresses
        .into_iter()
        .partition(|address| address.contains('/'));
    let bound = egress.capture == CaptureMode::None || !proxy.intercepts;
    let given = (!egress.bind.is_empty()).then(|| egress.bind.to_owned());
    let own = match &proxy.loopback {
        Some(loopback) if given.is_none() => {
            if u32::from(loopback.lowest_port) > u32::from(listen_port) {
                return;
            }
            let Some(address) = loopback.address_of(service) else {
                issues.add(
                    &service.object,
                    "spec",
                    "has no address in loopback mode, where only services with a cluster IP have one; call its endpoints directly, without the sidecar",
                );
                return;
            };
            Some(address.to_string())
        }
        _ => None,
    };
    let alone = own.is_some();
    let given = given.or(own);
    let wildcard = if bound && given.is_none() {
        // Only its own workload is to reach a port that the sidecar binds.
        "127.0.0.1"
    } else {
        names::WILDCARD
    };
    if protocol.is_http() {
        let bind = given.unwrap_or_else(|| wildcard.to_owned());
        let entry = entries.entry((listen_port, bind.clone())).or_default();
        entry.bound |= bound;
        if entry.http.is_none() {
            entry.http = Some(HttpListener {
                route_name: if alone {
                    format!("{}:{listen_port}", service.hostname)
                } else {
                    route_name(&bind, listen_port)
                },
                port: listen_port,
                service: alone.then(|| service.hostname.to_string()),
                egress: position,
            });
        }
        return;
    }
    let headless =
        service.resolution == Resolution::Passthrough && ranges.is_empty() && singles.is_empty();
    let binds: Vec<String> = if let Some(bind) = given {
        vec![bind]
    } else if headless {
        let own = |target: &Target| matches!(target, Target::Ip(ip) if proxy.ips.contains(ip));
        let endpoints = service.endpoints(port.number);
        if endpoints.is_empty()
            && service.provider == Provider::External
            && service.selector.is_empty()
        {
            vec![wildcard.to_owned()]
        } else {
            // One listener a workload; its own it reaches without the proxy.
            endpoints
                .iter()
                .filter(|endpoint| !own(&endpoint.target))
                .map(|endpoint| endpoint.target.to_string())
                .collect()
        }
    } else {
        // A range shares the wildcard's listener, where destinations tell services apart.
        let shared = !ranges.is_empty() || singles.is_empty();
        let shared = shared.then(|| wildcard.to_owned());
        singles.into_iter().chain(shared).collect()
    };
    for bind in binds {
        let shared_address = bind == wildcard;
        let entry = entries.entry((listen_port, bind.clone())).or_default();
        entry.bound |= bound;
        if protocol.is_sniffed() && entry.http.is_none() {
            entry.http = Some(HttpListener {
                route_name: if shared_address || headless {
                    route_name(&bind, listen_port)
                } else {
                    format!("{}:{listen_port}", service.hostname)
                },
                port: listen_port,
                service: (!shared_address).then(|| service.hostname.to_string()),
                egress: position,
            });
            if headless && !shared_address {
                entry.http = Some(HttpListener {
                    route_name: format!("{}:{listen_port}", service.hostname),
                    port: listen_port,
                    service: Some(service.hostname.to_string()),
                    egress: position,
                });
            }
        }
        let input = l4::Input {
            scope,
            proxy,
            egress,
            service,
            port,
            // An address of its own needs no range to tell it apart.
            subnets: if service.addresses.contains(&bind) {
                &[]
            } else {
                &ranges
            },
            shared_address,
        };
        for chain in l4::chains(&input, issues) {
            if !l4::push(&mut entry.chains, chain) {
                issues.add(
                    &service.object,
                    "spec.ports",
                    format!(
                        "TCP port {listen_port} is taken at {bind} by another service; give the service an address of its own"
                    ),
                );
            }
        }
    }
}

/// The addresses and ranges at which a proxy's workload calls a service, of the families that
/// it has.
fn addresses(service: &Service, proxy: &Proxy) -> Vec<String> {
    let all = match &service.addresses[..] {
        [] => service.address(proxy.dns_capture).into_iter().collect(),
        given => given.to_vec(),
    };
    let v6 = |address: &str| address.contains(':');
    all.into_iter()
        .filter(|address| {
            let mut own = proxy.ips.iter();
            proxy.ips.is_empty() || own.any(|ip| ip.is_ipv6() == v6(address))
        })
        .collect()
}

fn route_name(bind: &str, port: u16) -> String {
    if port == 0 || bind.starts_with("unix://") {
        bind.to_owned()
    } else {
        port.to_string()
    }
}

/// Whether a service of the listener's port speaks gRPC-Web.
fn has_grpc_web(scope: &Scope<'_>, http: &HttpListener) -> bool {
    let services = scope.egress[http.egress].services.iter();
    let mut ports = services
        .filter(|service| {
            http.service
                .as_ref()
                .is_none_or(|only| **only == *service.hostname)
        })
        .flat_map(|service| &service.ports);
    ports.any(|port| port.number == http.port && port.protocol == Protocol::GrpcWeb)
}

fn write(
    scope: &Scope<'_>,
    proxy: &Proxy,
    bind: &str,
    port: u16,
    entry: Entry,
) -> listener::Listener {
    let name = match bind.strip_prefix("unix://") {
        Some(path) => format!("unix://{path}"),
        None => names::listener(bind, port),
    };
    let mut inspectors = Vec::new();
    let sniffs_tls = entry.chains.iter().any(|chain| !chain.sni.is_empty());
    if sniffs_tls {
        inspectors.push(filters::tls_inspector());
    }
    let mut chains = Vec::new();
    if let Some(http) = &entry.http {
        inspectors.push(filters::http_inspector());
        let manager = hcm::filter(
            scope,
            proxy,
            Side::Outbound,
            format!("outbound_{bind}_{port};"),
            Routes::Named(http.route_name.clone()),
            dynamic::caches(scope, proxy, &scope.egress[http.egress], http.port),
            has_grpc_web(scope, http),
        );
        chains.push(listener::FilterChain {
            filter_chain_match: Some(plaintext_http()),
            ..super::chain(vec![manager])
        });
    }
    let has_matches = !chains.is_empty() || entry.chains.iter().any(|chain| !chain.is_catch_all());
    let mut fallback = None;
    for chain in entry.chains {
        if chain.is_catch_all() && has_matches {
            fallback = Some(chain.build());
        } else {
            chains.push(chain.build());
        }
    }
    if fallback.is_none() && has_matches {
        fallback = Some(pass_on(scope, proxy));
    }
    let (address, additional_addresses) = match bind.strip_prefix("unix://") {
        Some(path) => (pb::pipe_address(path), Vec::new()),
        None => super::addresses(proxy, bind, port),
    };
    listener::Listener {
        name,
        address: Some(address),
        additional_addresses,
        bind_to_port: if entry.bound { None } else { pb::boolv(false) },
        filter_chains: chains,
        default_filter_chain: fallback,
        listener_filters: inspectors,
        listener_filters_timeout: Some(pb::duration(scope.world.mesh.protocol_detection_timeout)),
        continue_on_listener_filters_timeout: true,
        traffic_direction: core::TrafficDirection::Outbound as i32,
        ..Default::default()
    }
}

/// What the HTTP inspector says of plaintext HTTP.
pub fn plaintext_http() -> listener::FilterChainMatch {
    listener::FilterChainMatch {
        application_protocols: vec!["http/1.1".to_owned(), "h2c".to_owned()],
        transport_protocol: "raw_buffer".to_owned(),
        ..Default::default()
    }
}

/// What no service takes.
fn pass_on(scope: &Scope<'_>, proxy: &Proxy) -> listener::FilterChain {
    let cluster = if proxy.intercepts {
        tcp::fallback_cluster(scope.outbound_policy)
    } else {
        // Without redirection the destination is the listener itself.
        names::BLACK_HOLE
    };
    let config = tcp::to_cluster(scope, proxy, Side::Outbound, cluster);
    listener::FilterChain {
        name: "PassthroughFilterChain".to_owned(),
        filter_chain_match: Some(Default::default()),
        filters: tcp::chain(scope, proxy, Side::Outbound, &config),
        ..Default::default()
    }
}

fn virtual_outbound(scope: &Scope<'_>, proxy: &Proxy) -> listener::Listener {
    let mesh = &scope.world.mesh;
    let mut black_hole = tcp::to_cluster(scope, proxy, Side::Outbound, names::BLACK_HOLE);
    black_hole.access_log.clear();
    let catch_all = tcp::to_cluster(
        scope,
        proxy,
        Side::Outbound,
        tcp::fallback_cluster(scope.outbound_policy),
    );
    // A connection to the listener itself would be passed on to itself for ever.
    let mut chains = vec![listener::FilterChain {
        name: "virtualOutbound-blackhole".to_owned(),
        filter_chain_match: Some(listener::FilterChainMatch {
            destination_port: pb::u32v(u32::from(mesh.outbound_port)),
            ..Default::default()
        }),
        filters: tcp::chain(scope, proxy, Side::Outbound, &black_hole),
        ..Default::default()
    }];
    let resolves = scope.outbound_policy == OutboundPolicy::AllowAnyDynamicDns;
    if resolves {
        chains.push(unknown_hosts(scope, proxy));
    }
    chains.push(listener::FilterChain {
        name: "virtualOutbound-catchall-tcp".to_owned(),
        filters: tcp::chain(scope, proxy, Side::Outbound, &catch_all),
        ..Default::default()
    });
    let (address, additional_addresses) =
        super::addresses(proxy, names::WILDCARD, mesh.outbound_port);
    listener::Listener {
        name: names::VIRTUAL_OUTBOUND.to_owned(),
        address: Some(address),
        additional_addresses,
        use_original_dst: pb::boolv(true),
        access_log: access_log::listener(scope, proxy, Side::Outbound.mode()),
        filter_chains: chains,
        listener_filters: resolves.then(filters::http_inspector).into_iter().collect(),
        listener_filters_timeout: resolves.then(|| pb::duration(detection_timeout(mesh))),
        continue_on_listener_filters_timeout: resolves,
        max_connections_to_accept_per_socket_event: pb::u32v(1),
        transparent: proxy.tproxy.then_some(true).and_then(pb::boolv),
        traffic_direction: core::TrafficDirection::Outbound as i32,
        ..Default::default()
    }
}

/// Plaintext HTTP to hosts that no service has: they are resolved.
fn unknown_hosts(scope: &Scope<'_>, proxy: &Proxy) -> listener::FilterChain {
    let routes = route::RouteConfiguration {
        virtual_hosts: vec![crate::route::fallback(scope.outbound_policy)],
        validate_clusters: pb::boolv(false),
        ..Default::default()
    };
    let manager = hcm::filter(
        scope,
        proxy,
        Side::Outbound,
        format!("{};", names::ALLOW_ANY_DYNAMIC_DNS),
        Routes::Inline(Box::new(routes)),
        vec![dynamic::unknown_hosts(proxy)],
        false,
    );
    listener::FilterChain {
        name: "virtualOutbound-catchall-tcp-http".to_owned(),
        filter_chain_match: Some(listener::FilterChainMatch {
            // By transport it would hide the chain for everything else.
            transport_protocol: String::new(),
            ..plaintext_http()
        }),
        ..super::chain(vec![manager])
    }
}

/// How long a client on any port at all is waited for to speak first. Of servers that do so
/// instead nothing is known here: they must not be waited for in vain.
fn detection_timeout(mesh: &Mesh) -> Duration {
    const UNKNOWN_PORTS: Duration = Duration::from_secs(1);
    match mesh.protocol_detection_timeout {
        Duration::ZERO => UNKNOWN_PORTS,
        given => given,
    }
}
