//! A sidecar's inbound listener: one filter chain (or more, by TLS and protocol) a port.

use std::collections::BTreeMap;

use meltemi_registry::{Protocol, ServiceTarget};

use super::filters::{self, Side};
use super::hcm::{self, Routes};
use super::inbound_ports::{Inbound, Layer, from_ingress, from_services, layer};
use super::{access_log, ingress, tcp};
use crate::issue::Issues;
use crate::names;
use crate::pb::{self, core, listener};
use crate::proxy::Proxy;
use crate::sds::{self, TLS_SOCKET};
use crate::tls_params;
use crate::world::peer_authentication::{MtlsMode, WorkloadMtls};
use crate::world::scope::Scope;

/// ALPN of sidecars whose request is HTTP.
const MESH_HTTP: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// ALPN of sidecars in front of anything else.
const MESH_TCP: [&str; 2] = ["istio-peer-exchange", "istio"];
pub(super) const MESH_ANY: [&str; 5] = [
    "istio",
    "istio-peer-exchange",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
];
const PLAIN_HTTP: [&str; 2] = ["http/1.1", "h2c"];

/// One way in: how a connection is recognised, and what becomes of it.
struct Way {
    transport: &'static str,
    alpn: &'static [&'static str],
    layer: Layer,
    /// The proxy ends mesh TLS here.
    mesh_tls: bool,
}

/// The ways into a port (Istio's, in its order).
fn ways(protocol: Protocol, mode: MtlsMode, own_tls: bool) -> Vec<Way> {
    let way = |transport, alpn, layer, mesh_tls| Way {
        transport,
        alpn,
        layer,
        mesh_tls,
    };
    const TLS: &str = "tls";
    const RAW: &str = "raw_buffer";
    let layer = layer(protocol, own_tls);
    if own_tls {
        return vec![way(TLS, &[], layer, false)];
    }
    match (protocol.is_sniffed(), mode) {
        (true, MtlsMode::Permissive) => vec![
            way(TLS, &MESH_HTTP, Layer::Http, true),
            way(RAW, &PLAIN_HTTP, Layer::Http, false),
            way(TLS, &MESH_TCP, Layer::Tcp, true),
            way(RAW, &[], Layer::Tcp, false),
            // The application's own TLS.
            way(TLS, &[], Layer::Tcp, false),
        ],
        (true, MtlsMode::Strict) => vec![
            way(TLS, &MESH_HTTP, Layer::Http, true),
            way(TLS, &[], Layer::Tcp, true),
        ],
        (true, MtlsMode::Disable) => vec![
            way(RAW, &PLAIN_HTTP, Layer::Http, false),
            way(RAW, &[], Layer::Tcp, false),
        ],
        (false, MtlsMode::Permissive) if layer == Layer::Http => vec![
            way(TLS, &MESH_ANY, Layer::Http, true),
            way(RAW, &[], Layer::Http, false),
        ],
        (false, MtlsMode::Permissive) => vec![
            way(TLS, &MESH_TCP, Layer::Tcp, true),
            way(RAW, &[], Layer::Tcp, false),
            way(TLS, &[], Layer::Tcp, false),
        ],
        (false, MtlsMode::Strict) => vec![way(TLS, &[], layer, true)],
        // Without mesh TLS nothing looks for it: what comes counts as plain.
        (false, MtlsMode::Disable) => vec![way(RAW, &[], layer, false)],
    }
}

pub fn translate(
    scope: &Scope<'_>,
    proxy: &Proxy,
    targets: &[ServiceTarget],
    issues: &mut Issues,
) -> Vec<listener::Listener> {
    let mtls = scope
        .world
        .peer_authentications
        .workload(&proxy.namespace, &proxy.labels);
    let ports = match ingress::listeners(scope) {
        Some(declared) => from_ingress(scope, proxy, &declared, targets, &mtls, issues),
        None => from_services(targets, &mtls, issues),
    };
    if !proxy.intercepts {
        return ports
            .into_values()
            .filter_map(|inbound| bound(scope, proxy, &inbound))
            .collect();
    }
    vec![virtual_inbound(scope, proxy, &mtls, ports)]
}

fn virtual_inbound(
    scope: &Scope<'_>,
    proxy: &Proxy,
    mtls: &WorkloadMtls,
    ports: BTreeMap<u16, Inbound<'_>>,
) -> listener::Listener {
    let mesh = &scope.world.mesh;
    let mut black_hole = tcp::to_cluster(scope, proxy, Side::Inbound, names::BLACK_HOLE);
    black_hole.access_log.clear();
    let catch_all = Inbound {
        port: None,
        protocol: Protocol::Sniffed,
        mode: mtls.mode,
        cluster: names::INBOUND_PASSTHROUGH.to_owned(),
        host: "",
        address: names::WILDCARD.to_owned(),
        tls: None,
    };
    let mut chains = vec![listener::FilterChain {
        name: "virtualInbound-blackhole".to_owned(),
        filter_chain_match: Some(listener::FilterChainMatch {
            destination_port: pb::u32v(u32::from(mesh.inbound_port)),
            ..Default::default()
        }),
        filters: tcp::chain(scope, proxy, Side::Inbound, &black_hole),
        ..Default::default()
    }];
    chains.extend(filter_chains(scope, proxy, &catch_all));
    let undeclared: Vec<(u16, MtlsMode)> = mtls
        .ports
        .iter()
        .filter(|(port, _)| !ports.contains_key(port))
        .map(|(port, mode)| (*port, *mode))
        .collect();
    for inbound in ports.into_values() {
        chains.extend(filter_chains(scope, proxy, &inbound));
    }
    // A port-level policy holds for ports that no service names, too.
    for (port, mode) in undeclared {
        let inbound = Inbound {
            port: Some(port),
            protocol: Protocol::Sniffed,
            mode,
            cluster: names::INBOUND_PASSTHROUGH.to_owned(),
            host: "",
            address: names::WILDCARD.to_owned(),
            tls: None,
        };
        chains.extend(filter_chains(scope, proxy, &inbound));
    }
    let mut listener_filters = vec![filters::original_destination()];
    listener_filters.extend(inspectors(&chains));
    let (address, additional_addresses) =
        super::addresses(proxy, names::WILDCARD, mesh.inbound_port);
    listener::Listener {
        name: names::VIRTUAL_INBOUND.to_owned(),
        address: Some(address),
        additional_addresses,
        access_log: access_log::listener(scope, proxy, Side::Inbound.mode()),
        filter_chains: chains,
        listener_filters,
        listener_filters_timeout: Some(pb::duration(mesh.protocol_detection_timeout)),
        continue_on_listener_filters_timeout: true,
        max_connections_to_accept_per_socket_event: pb::u32v(1),
        transparent: proxy.tproxy.then_some(true).and_then(pb::boolv),
        traffic_direction: core::TrafficDirection::Inbound as i32,
        ..Default::default()
    }
}

/// Without redirection: a listener on the workload's own address and port.
fn bound(scope: &Scope<'_>, proxy: &Proxy, inbound: &Inbound<'_>) -> Option<listener::Listener> {
    let port = inbound.port?;
    let address = proxy.ips.first()?.to_string();
    let mut chains: Vec<_> = filter_chains(scope, proxy, inbound);
    for chain in &mut chains {
        if let Some(matching) = &mut chain.filter_chain_match {
            matching.destination_port = None;
        }
    }
    let listener_filters = inspectors(&chains);
    Some(listener::Listener {
        name: names::listener(&address, port),
        address: Some(pb::socket_address(&address, u32::from(port))),
        filter_chains: chains,
        listener_filters,
        listener_filters_timeout: Some(pb::duration(scope.world.mesh.protocol_detection_timeout)),
        continue_on_listener_filters_timeout: true,
        traffic_direction: core::TrafficDirection::Inbound as i32,
        ..Default::default()
    })
}

fn filter_chains(
    scope: &Scope<'_>,
    proxy: &Proxy,
    inbound: &Inbound<'_>,
) -> Vec<listener::FilterChain> {
    ways(inbound.protocol, inbound.mode, inbound.tls.is_some())
        .into_iter()
        .map(|way| filter_chain(scope, proxy, inbound, &way))
        .collect()
}

fn filter_chain(
    scope: &Scope<'_>,
    proxy: &Proxy,
    inbound: &Inbound<'_>,
    way: &Way,
) -> listener::FilterChain {
    let http = way.layer == Layer::Http;
    let name = match (inbound.port, http) {
        (Some(port), _) => names::listener(&inbound.address, port),
        (None, true) => "virtualInbound-catchall-http".to_owned(),
        (None, false) => names::VIRTUAL_INBOUND.to_owned(),
    };
    let filters = if http {
        let stat_prefix = match inbound.port {
            Some(port) => format!("inbound_{}_{port};", names::WILDCARD),
            None => format!("{};", names::INBOUND_PASSTHROUGH),
        };
        let routes =
            crate::route::inbound(&inbound.cluster, inbound.port.unwrap_or(0), inbound.host);
        let mut filters = Vec::new();
        if proxy.flavor == crate::proxy::Flavor::Meltemi {
            filters.push(filters::network_any(
                "istio.metadata_exchange",
                filters::tcp_peer_metadata(),
            ));
        }
        filters.push(hcm::filter(
            scope,
            proxy,
            Side::Inbound,
            stat_prefix,
            Routes::Inline(Box::new(routes)),
            Vec::new(),
            inbound.protocol == Protocol::GrpcWeb,
        ));
        filters
    } else {
        let config = tcp::to_cluster(scope, proxy, Side::Inbound, &inbound.cluster);
        tcp::chain(scope, proxy, Side::Inbound, &config)
    };
    let mesh_tls = way.mesh_tls.then(|| {
        let mesh = &scope.world.mesh;
        let aliases = &mesh.config.trust_domain_aliases;
        let domains = std::iter::once(&mesh.trust_domain).chain(aliases);
        let clients = sds::validation(sds::of_trust_domains(domains));
        let alpn: &[&str] = if http {
            &["h2", "http/1.1"]
        } else {
            &["istio-peer-exchange", "h2", "http/1.1"]
        };
        let params = tls_params::of_sidecar(mesh);
        pb::transport_socket(TLS_SOCKET, &sds::mesh_server(clients, alpn, params))
    });
    listener::FilterChain {
        name,
        filter_chain_match: Some(listener::FilterChainMatch {
            destination_port: inbound.port.and_then(|port| pb::u32v(u32::from(port))),
            transport_protocol: way.transport.to_owned(),
            application_protocols: way.alpn.iter().map(|&alpn| alpn.to_owned()).collect(),
            ..Default::default()
        }),
        filters,
        transport_socket: mesh_tls.or_else(|| inbound.tls.clone()),
        ..Default::default()
    }
}

/// The inspectors that the chains' matches need, switched off for the ports where they do not:
/// a connection to a server that speaks first would wait in vain for the client's first bytes.
fn inspectors(chains: &[listener::FilterChain]) -> Vec<listener::ListenerFilter> {
    // By port (0: all the others): TLS, HTTP.
    let mut needs: BTreeMap<u32, (bool, bool)> = BTreeMap::new();
    for chain in chains {
        let Some(matching) = &chain.filter_chain_match else {
            continue;
        };
        let port = matching.destination_port.map_or(0, |port| port.value);
        let need = needs.entry(port).or_default();
        need.0 |= matching.transport_protocol == "tls";
        need.1 |= matching
            .application_protocols
            .iter()
            .any(|protocol| PLAIN_HTTP.contains(&protocol.as_str()));
    }
    let mut inspectors = Vec::new();
    let tls = |need: &(bool, bool)| need.0;
    let http = |need: &(bool, bool)| need.1;
    // TLS first: the HTTP inspector leaves alone what is known as TLS.
    if needs.values().any(tls) {
        let mut filter = filters::tls_inspector();
        filter.filter_disabled = disabled(&needs, tls);
        inspectors.push(filter);
    }
    if needs.values().any(http) {
        let mut filter = filters::http_inspector();
        filter.filter_disabled = disabled(&needs, http);
        inspectors.push(filter);
    }
    inspectors
}

type Predicate = listener::ListenerFilterChainMatchPredicate;

fn disabled(
    needs: &BTreeMap<u32, (bool, bool)>,
    needed: impl Fn(&(bool, bool)) -> bool,
) -> Option<Predicate> {
    use listener::listener_filter_chain_match_predicate::{MatchSet, Rule};
    let by_default = needs.get(&0).is_some_and(&needed);
    let mut rules: Vec<Predicate> = needs
        .iter()
        .filter(|(port, need)| **port != 0 && needed(need) != by_default)
        .map(|(port, _)| {
            let port = *port as i32;
            Predicate {
                rule: Some(Rule::DestinationPortRange(pb::etype::Int32Range {
                    start: port,
                    end: port + 1,
                })),
            }
        })
        .collect();
    let exceptions = if rules.len() > 1 {
        Predicate {
            rule: Some(Rule::OrMatch(MatchSet { rules })),
        }
    } else {
        rules.pop()?
    };
    Some(if by_default {
        exceptions
    } else {
        Predicate {
            rule: Some(Rule::NotMatch(Box::new(exceptions))),
        }
    })
}
