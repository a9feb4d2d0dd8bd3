//! Dynamic forward proxies: the proxy resolves the host that a request or a connection names.

use envoy_types::pb::envoy::extensions::clusters::dynamic_forward_proxy::v3 as clusters;
use envoy_types::pb::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use envoy_types::pb::envoy::extensions::filters::http::dynamic_forward_proxy::v3 as http_filter;
use envoy_types::pb::envoy::extensions::filters::network::sni_dynamic_forward_proxy::v3 as sni_filter;
use meltemi_registry::{Resolution, Service};

use crate::listener::filters;
use crate::names;
use crate::pb::{self, cluster, core, hcm, listener};
use crate::proxy::Proxy;
use crate::world::mesh::OutboundPolicy;
use crate::world::scope::{Egress, Scope};
use cluster::cluster::DnsLookupFamily;

/// The cache of a service's clusters and of the filters before them.
pub fn cache(service: &Service) -> DnsCacheConfig {
    named(&service.hostname, DnsLookupFamily::V4Only)
}

/// The cache for hosts that no service has (ALLOW_ANY_DYNAMIC_DNS).
pub fn unknown_hosts(proxy: &Proxy) -> DnsCacheConfig {
    let mut own = proxy.ips.iter();
    let family = match !proxy.ips.is_empty() && own.all(|ip| ip.is_ipv6()) {
        true => DnsLookupFamily::V6Only,
        false => DnsLookupFamily::V4Only,
    };
    named(names::ALLOW_ANY_DYNAMIC_DNS, family)
}

fn named(name: &str, family: DnsLookupFamily) -> DnsCacheConfig {
    DnsCacheConfig {
        name: format!("{name}_dfp_dns_cache"),
        dns_lookup_family: family as i32,
        ..Default::default()
    }
}

/// What the requests of an egress listener's port may need resolved.
pub fn caches(
    scope: &Scope<'_>,
    proxy: &Proxy,
    egress: &Egress<'_>,
    port: u16,
) -> Vec<DnsCacheConfig> {
    let dynamic = egress.services.iter().filter(|service| {
        let speaks_http = |number| {
            let port = service.port(number);
            port.is_some_and(|port| port.protocol.is_http() || port.protocol.is_sniffed())
        };
        service.resolution == Resolution::DynamicDns && (speaks_http(port) || egress.port.is_some())
    });
    let own =
        (scope.outbound_policy == OutboundPolicy::AllowAnyDynamicDns).then(|| unknown_hosts(proxy));
    dynamic.map(|service| cache(service)).chain(own).collect()
}

/// Makes a cluster one. `insecure`: it may do without SNI and names by request, which Envoy else
/// asks of every such cluster.
pub fn make(cluster: &mut cluster::Cluster, cache: DnsCacheConfig, insecure: bool) {
    use clusters::cluster_config::ClusterImplementationSpecifier;
    let config = clusters::ClusterConfig {
        allow_insecure_cluster_options: insecure,
        cluster_implementation_specifier: Some(ClusterImplementationSpecifier::DnsCacheConfig(
            cache,
        )),
        ..Default::default()
    };
    cluster.lb_policy = cluster::cluster::LbPolicy::ClusterProvided as i32;
    cluster.cluster_discovery_type = Some(cluster::cluster::ClusterDiscoveryType::ClusterType(
        cluster::cluster::CustomClusterType {
            name: "envoy.clusters.dynamic_forward_proxy".to_owned(),
            typed_config: Some(pb::any(&config)),
        },
    ));
}

/// Resolves the host of requests.
pub fn http(cache: DnsCacheConfig) -> hcm::HttpFilter {
    use http_filter::filter_config::ImplementationSpecifier;
    let config = http_filter::FilterConfig {
        implementation_specifier: Some(ImplementationSpecifier::DnsCacheConfig(cache)),
        ..Default::default()
    };
    filters::http_any("envoy.filters.http.dynamic_forward_proxy", pb::any(&config))
}

/// Resolves the SNI of connections, to be connected to at a port.
pub fn by_sni(cache: DnsCacheConfig, port: u16) -> listener::Filter {
    let config = sni_filter::FilterConfig {
        dns_cache_config: Some(cache),
        port_specifier: Some(sni_filter::filter_config::PortSpecifier::PortValue(
            u32::from(port),
        )),
        ..Default::default()
    };
    filters::network("envoy.filters.network.sni_dynamic_forward_proxy", &config)
}

/// What Envoy asks of the HTTP options of such clusters.
pub fn verified() -> core::UpstreamHttpProtocolOptions {
    core::UpstreamHttpProtocolOptions {
        auto_sni: true,
        auto_san_validation: true,
        ..Default::default()
    }
}
