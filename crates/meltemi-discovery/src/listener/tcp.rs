//! TCP proxies: a connection to one cluster, or to one of several by weight.

use envoy_types::pb::envoy::r#type::v3::{HashPolicy, hash_policy};
use meltemi_api::networking::{RouteDestination, TrafficPolicy};
use meltemi_registry::Resolution;

use super::filters::{self, Side};
use super::{access_log, metrics};
use crate::dynamic;
use crate::issue::Issues;
use crate::names;
use crate::pb::{self, listener, tcp_proxy};
use crate::proxy::{Flavor, Proxy};
use crate::rule::Rule;
use crate::world::destination_rule;
use crate::world::mesh::OutboundPolicy;
use crate::world::scope::Scope;
use crate::world::virtual_service::ResolvedVirtualService;

/// A TCP proxy's configuration with the mesh's access log.
pub fn to_cluster(
    scope: &Scope<'_>,
    proxy: &Proxy,
    side: Side,
    cluster: &str,
) -> tcp_proxy::TcpProxy {
    tcp_proxy::TcpProxy {
        stat_prefix: cluster.to_owned(),
        access_log: access_log::all(scope, proxy, side.mode()),
        cluster_specifier: Some(tcp_proxy::tcp_proxy::ClusterSpecifier::Cluster(
            cluster.to_owned(),
        )),
        ..Default::default()
    }
}

/// The network filters of an outbound TCP chain.
pub fn chain(
    scope: &Scope<'_>,
    proxy: &Proxy,
    side: Side,
    config: &tcp_proxy::TcpProxy,
) -> Vec<listener::Filter> {
    let mut chain = Vec::new();
    if proxy.flavor == Flavor::Meltemi && side == Side::Inbound {
        chain.push(filters::network_any(
            "istio.metadata_exchange",
            filters::tcp_peer_metadata(),
        ));
    }
    let stats = metrics::of(scope, proxy, side);
    chain.extend(stats.map(|stats| filters::network_any("istio.stats", stats)));
    chain.extend(by_sni(scope, config));
    chain.push(filters::network("envoy.filters.network.tcp_proxy", config));
    chain
}

/// Where the only destination is a wildcard host, the connection's SNI says which one is meant.
fn by_sni(scope: &Scope<'_>, config: &tcp_proxy::TcpProxy) -> Option<listener::Filter> {
    let Some(tcp_proxy::tcp_proxy::ClusterSpecifier::Cluster(name)) = &config.cluster_specifier
    else {
        return None;
    };
    let (port, host) = names::outbound_parts(name)?;
    let service = scope.service(host)?;
    (service.resolution == Resolution::DynamicDns)
        .then(|| dynamic::by_sni(dynamic::cache(service), port))
}

/// Where connections go that nothing else takes.
pub fn fallback_cluster(policy: OutboundPolicy) -> &'static str {
    match policy {
        OutboundPolicy::AllowAny | OutboundPolicy::AllowAnyDynamicDns => names::PASSTHROUGH,
        OutboundPolicy::RegistryOnly => names::BLACK_HOLE,
    }
}

/// A TCP proxy to the destinations of a route.
pub fn to_destinations(
    scope: &Scope<'_>,
    proxy: &Proxy,
    virtual_service: &ResolvedVirtualService,
    routes: &[RouteDestination],
    listen_port: u16,
    rule: &Rule,
    issues: &mut Issues,
) -> tcp_proxy::TcpProxy {
    let cluster_of = |route: &RouteDestination, issues: &mut Issues, index: usize| {
        crate::route::cluster_name(
            scope,
            &rule.object,
            &route.destination,
            listen_port,
            &rule.destination(index),
            issues,
            false,
        )
    };
    let positive: Vec<(usize, &RouteDestination)> = routes
        .iter()
        .enumerate()
        .filter(|(_, route)| routes.len() == 1 || route.weight > 0)
        .collect();
    if let [(index, only)] = positive[..] {
        let cluster = cluster_of(only, issues, index);
        let mut config = to_cluster(scope, proxy, Side::Outbound, &cluster);
        settings(&mut config, scope, only, listen_port);
        return config;
    }
    for (index, route) in &positive {
        let service = scope.service(&route.destination.host);
        if service.is_some_and(|service| service.resolution == Resolution::DynamicDns) {
            issues.add(
                &rule.object,
                rule.destination(*index),
                "connections are closed, because a host with DYNAMIC_DNS is resolved as the only destination alone; remove the others",
            );
        }
    }
    let clusters = positive
        .into_iter()
        .map(
            |(index, route)| tcp_proxy::tcp_proxy::weighted_cluster::ClusterWeight {
                name: cluster_of(route, issues, index),
                weight: u32::try_from(route.weight).unwrap_or(0),
                ..Default::default()
            },
        )
        .collect();
    tcp_proxy::TcpProxy {
        stat_prefix: format!(
            "{}.{}",
            virtual_service.key.name, virtual_service.key.namespace
        ),
        access_log: access_log::all(scope, proxy, Side::Outbound.mode()),
        cluster_specifier: Some(tcp_proxy::tcp_proxy::ClusterSpecifier::WeightedClusters(
            tcp_proxy::tcp_proxy::WeightedCluster { clusters },
        )),
        ..Default::default()
    }
}

fn settings(
    config: &mut tcp_proxy::TcpProxy,
    scope: &Scope<'_>,
    route: &RouteDestination,
    listen_port: u16,
) {
    let destination = &route.destination;
    let Some(service) = scope.service(&destination.host) else {
        return;
    };
    let Some(rule) = scope.rule(service) else {
        return;
    };
    let port = destination
        .port
        .as_ref()
        .and_then(|port| u16::try_from(port.number).ok())
        .unwrap_or(listen_port);
    let mut policy = destination_rule::at_port(rule.traffic_policy.as_ref(), port);
    if let Some(subset) = rule.subset(&destination.subset) {
        policy = destination_rule::at_subset(&policy, subset, port);
    }
    apply(config, &policy);
}

/// What of a DestinationRule a TCP proxy carries.
pub fn apply(config: &mut tcp_proxy::TcpProxy, policy: &TrafficPolicy) {
    let tcp = policy
        .connection_pool
        .as_ref()
        .and_then(|pool| pool.tcp.as_ref());
    config.idle_timeout = tcp
        .and_then(|tcp| tcp.idle_timeout)
        .map(|timeout| pb::duration(timeout.get()));
    let by_source = crate::cluster::consistent_hash(policy)
        .is_some_and(|hash| hash.use_source_ip == Some(true));
    if by_source {
        config.hash_policy = vec![HashPolicy {
            policy_specifier: Some(hash_policy::PolicySpecifier::SourceIp(Default::default())),
        }];
    }
    if let Some(tunnel) = &policy.tunnel {
        config.tunneling_config = Some(tcp_proxy::tcp_proxy::TunnelingConfig {
            hostname: format!("{}:{}", tunnel.target_host, tunnel.target_port),
            use_post: tunnel.protocol.eq_ignore_ascii_case("POST"),
            ..Default::default()
        });
    }
}
