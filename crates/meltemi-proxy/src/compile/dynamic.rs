//! Envoy's dynamic forward proxy: its cluster, the filter by SNI, and the DNS cache that they
//! share with the HTTP filter.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::{duration_or, prefix, timeout, u32_or};
use super::context::Cx;
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result};
use super::{cluster_dns, pb};
use crate::dns::DnsCache;
use crate::model::{AddressFilter, DnsCacheSettings, SniForward};
use envoy_types::pb::envoy::extensions::common::dynamic_forward_proxy::v3 as shared;
use envoy_types::pb::xds::core::v3::CidrRange;
use pb::clusters::dynamic_forward_proxy::v3 as clusters;
use pb::filters::network::sni_dynamic_forward_proxy::v3 as sni_filter;
use std::sync::Arc;
use std::time::Duration;

/// Envoy's defaults.
const REFRESH: Duration = Duration::from_secs(60);
const MIN_REFRESH: Duration = Duration::from_secs(5);
const HOST_TTL: Duration = Duration::from_secs(300);
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HOSTS: u32 = 1024;
const MAX_PENDING: u32 = 1024;

/// A dynamic forward proxy cluster, as far as its extension says.
pub struct DynamicCluster {
    pub cache: Arc<DnsCache>,
    /// TLS may go without the server's name being sent and verified.
    pub insecure: bool,
}

pub fn cluster(value: clusters::ClusterConfig, cx: &mut Cx<'_>) -> Result<DynamicCluster> {
    use clusters::cluster_config::ClusterImplementationSpecifier as Implementation;
    let clusters::ClusterConfig {
        allow_insecure_cluster_options,
        allow_coalesced_connections,
        cluster_implementation_specifier,
    } = value;
    left_out!(
        cx,
        "dynamic_forward_proxy.ClusterConfig",
        "each host has connections of its own",
        allow_coalesced_connections
    );
    let cache = match cluster_implementation_specifier {
        Some(Implementation::DnsCacheConfig(value)) => cache(value, cx).at("dns_cache_config")?,
        Some(Implementation::SubClustersConfig(_)) => {
            return Err(Error::unsupported("sub_clusters_config"));
        }
        None => return Err(Error::missing("dns_cache_config")),
    };
    Ok(DynamicCluster {
        cache,
        insecure: allow_insecure_cluster_options,
    })
}

pub fn sni(value: sni_filter::FilterConfig, cx: &mut Cx<'_>) -> Result<SniForward> {
    use sni_filter::filter_config::PortSpecifier;
    let sni_filter::FilterConfig {
        dns_cache_config,
        save_upstream_address,
        port_specifier,
    } = value;
    harmless!(save_upstream_address);
    let port = match port_specifier {
        Some(PortSpecifier::PortValue(port)) => u16::try_from(port).unwrap_or_default(),
        None => return Err(Error::missing("port_value")),
    };
    if port == 0 {
        return Err(Error::new("is not in 1..65535").at_field("port_value"));
    }
    Ok(SniForward {
        cache: dns_cache_config
            .ok_or_else(|| Error::new("is required"))
            .and_then(|value| cache(value, cx))
            .at("dns_cache_config")?,
        port,
    })
}

pub fn cache(value: shared::DnsCacheConfig, cx: &mut Cx<'_>) -> Result<Arc<DnsCache>> {
    let lookup = cluster_dns::family(value.dns_lookup_family());
    let shared::DnsCacheConfig {
        name,
        dns_lookup_family: _,
        dns_refresh_rate,
        dns_min_refresh_rate,
        host_ttl,
        max_hosts,
        disable_dns_refresh_on_failure,
        dns_failure_refresh_rate,
        dns_cache_circuit_breaker,
        use_tcp_for_dns_lookups,
        dns_resolution_config,
        typed_dns_resolver_config,
        preresolve_hostnames,
        dns_query_timeout,
        key_value_config,
        resolved_address_filter,
    } = value;
    if name.is_empty() {
        return Err(Error::missing("name"));
    }
    refuse!(use_tcp_for_dns_lookups, dns_resolution_config);
    left_out!(
        cx,
        "DnsCacheConfig",
        "names are resolved when they are first asked for, and kept in memory",
        preresolve_hostnames,
        key_value_config
    );
    let at_least = |value: Duration, least: Duration, field: &str| match value >= least {
        true => Ok(value),
        false => Err(Error::new(format!("must be at least {least:?}")).at_field(field)),
    };
    let refresh = duration_or(dns_refresh_rate, REFRESH).at("dns_refresh_rate")?;
    let refresh = at_least(refresh, Duration::from_millis(1), "dns_refresh_rate")?;
    let min_refresh = duration_or(dns_min_refresh_rate, MIN_REFRESH).at("dns_min_refresh_rate")?;
    let min_refresh = at_least(min_refresh, Duration::from_secs(1), "dns_min_refresh_rate")?;
    let host_ttl = duration_or(host_ttl, HOST_TTL).at("host_ttl")?;
    let host_ttl = at_least(host_ttl, Duration::from_millis(1), "host_ttl")?;
    let failure_refresh = match dns_failure_refresh_rate {
        None => (refresh, refresh),
        Some(rate) => failure_refresh(rate).at("dns_failure_refresh_rate")?,
    };
    let max_hosts = u32_or(max_hosts, MAX_HOSTS);
    if max_hosts == 0 {
        return Err(Error::new("must not be 0").at_field("max_hosts"));
    }
    let servers = typed_dns_resolver_config
        .map(cluster_dns::servers)
        .transpose()
        .at("typed_dns_resolver_config")?
        .unwrap_or_default();
    let max_pending = dns_cache_circuit_breaker.map_or(MAX_PENDING, |breaker| {
        let shared::DnsCacheCircuitBreakers {
            max_pending_requests,
        } = breaker;
        u32_or(max_pending_requests, MAX_PENDING)
    });
    let settings = DnsCacheSettings {
        lookup,
        servers,
        refresh,
        min_refresh,
        failure_refresh,
        forget_failures: disable_dns_refresh_on_failure,
        host_ttl,
        max_hosts: max_hosts as usize,
        query_timeout: timeout(dns_query_timeout, Some(QUERY_TIMEOUT)).at("dns_query_timeout")?,
        max_pending,
        filter: resolved_address_filter
            .map(address_filter)
            .transpose()
            .at("resolved_address_filter")?,
    };
    cx.names.dns_cache(&name, settings)
}

/// The base interval, and the longest: ten times as much unless configured.
fn failure_refresh(value: pb::cluster::cluster::RefreshRate) -> Result<(Duration, Duration)> {
    let pb::cluster::cluster::RefreshRate {
        base_interval,
        max_interval,
    } = value;
    let base = base_interval.ok_or_else(|| Error::missing("base_interval"))?;
    let base = super::basic::duration(base).at("base_interval")?;
    if base < Duration::from_millis(1) {
        return Err(Error::new("must be at least 1 ms").at_field("base_interval"));
    }
    let longest = duration_or(max_interval, base * 10).at("max_interval")?;
    if longest < base {
        return Err(Error::new("is below base_interval").at_field("max_interval"));
    }
    Ok((base, longest))
}

fn address_filter(value: pb::matcher::AddressMatcher) -> Result<AddressFilter> {
    let pb::matcher::AddressMatcher {
        ranges,
        invert_match,
    } = value;
    let range = |range: CidrRange| {
        let CidrRange {
            address_prefix,
            prefix_len,
        } = range;
        prefix(pb::core::CidrRange {
            address_prefix,
            prefix_len,
        })
    };
    Ok(AddressFilter {
        ranges: ranges
            .into_iter()
            .enumerate()
            .map(|(index, value)| range(value).nth("ranges", index))
            .collect::<Result<_>>()?,
        invert: invert_match,
    })
}
