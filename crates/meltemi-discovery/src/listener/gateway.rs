//! A gateway's listeners: filter chains for its servers.

use meltemi_registry::Protocol;

use super::filters::{self, Side};
use super::gateway_servers::{GatewayListener, GatewayServer};
use super::hcm::{self, Routes};
use super::l4::{self, Chain};
use super::server_tls::terminate;
use super::{access_log, auto_passthrough, tcp};
use crate::hosts;
use crate::issue::Issues;
use crate::names;
use crate::pb::{self, core, listener};
use crate::proxy::Proxy;
use crate::world::peer_authentication::terminates;
use crate::world::scope::Scope;
use crate::world::virtual_service::ResolvedVirtualService;

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
            Vec::new(),
            server.protocol == Protocol::GrpcWeb,
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
            Some(_) if server.is_auto_passthrough() => {
                let passed_on = auto_passthrough::chains(scope, proxy, server);
                if passed_on.is_empty() {
                    issues.add(
                        &server.gateway.object,
                        server.field("hosts"),
                        "no service of the mesh has such a host, so connections are closed; name hosts of services, for example *.local",
                    );
                }
                chains.extend(passed_on);
            }
            Some(settings) if terminates(settings.mode) && !settings.https_redirect => {
                let Some(socket) =
                    terminate(scope, proxy, &server.tls_place(), settings, false, issues)
                else {
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
    chains.extend(plain.into_iter().map(Chain::build));
    let by_sni = |chain: &listener::FilterChain| {
        let matching = chain.filter_chain_match.as_ref();
        matching.is_some_and(|matching| !matching.server_names.is_empty())
    };
    let needs_sni = chains
        .iter()
        .any(|chain| chain.transport_socket.is_some() || by_sni(chain));
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
    let balanced = mesh
        .topology()
        .is_some_and(|topology| topology.proxy_protocol.is_some());
    let mut listener_filters = Vec::new();
    listener_filters.extend(balanced.then(filters::proxy_protocol));
    listener_filters.extend(needs_sni.then(filters::tls_inspector));
    Some(listener::Listener {
        name: names::listener(&gateway.bind, gateway.port),
        address: Some(address),
        additional_addresses,
        access_log: access_log::listener(scope, proxy, Side::Gateway.mode()),
        filter_chains: chains,
        listener_filters,
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
                &server.gateway.object,
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
                    proxy,
                    service,
                    &route.route,
                    server.number,
                    &service.tls_rules[index],
                    issues,
                );
                l4::push(
                    chains,
                    Chain {
                        sni,
                        subnets: matching.destination_subnets.clone(),
                        filters: tcp::chain(scope, proxy, Side::Gateway, &config),
                        metadata: Some(service.tls_rule(index, position).metadata(&service.key)),
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
                proxy,
                service,
                &route.route,
                server.number,
                &service.tcp_rules[index],
                issues,
            );
            l4::push(
                chains,
                Chain {
                    sni: Vec::new(),
                    subnets,
                    filters: tcp::chain(scope, proxy, Side::Gateway, &config),
                    metadata: Some(service.tcp_rules[index].metadata(&service.key)),
                },
            );
        }
    }
}
