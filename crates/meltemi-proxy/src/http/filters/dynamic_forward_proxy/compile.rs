//! The filter's configuration, and what routes say to it.

use super::DynamicHost;
use crate::compile::dynamic::cache;
use crate::compile::pb::filters::http::dynamic_forward_proxy::v3 as proto;
use crate::compile::{At, Cx, Error, Result, harmless, refuse};
use crate::dns::DnsCache;
use http::{HeaderName, HeaderValue};
use std::sync::Arc;

pub fn filter(value: proto::FilterConfig, cx: &mut Cx<'_>) -> Result<Arc<DnsCache>> {
    use proto::filter_config::ImplementationSpecifier as Implementation;
    let proto::FilterConfig {
        save_upstream_address,
        allow_dynamic_host_from_filter_state,
        implementation_specifier,
    } = value;
    // Nothing here reads or writes filter state.
    harmless!(save_upstream_address);
    refuse!(allow_dynamic_host_from_filter_state);
    match implementation_specifier {
        Some(Implementation::DnsCacheConfig(value)) => cache(value, cx).at("dns_cache_config"),
        Some(Implementation::SubClusterConfig(_)) => Err(Error::unsupported("sub_cluster_config")),
        None => Err(Error::missing("dns_cache_config")),
    }
}

/// `None`: the route changes nothing.
pub fn route(value: proto::PerRouteConfig) -> Result<Option<DynamicHost>> {
    use proto::per_route_config::HostRewriteSpecifier as Specifier;
    let proto::PerRouteConfig {
        host_rewrite_specifier,
    } = value;
    match host_rewrite_specifier {
        Some(Specifier::HostRewriteLiteral(host)) if !host.is_empty() => {
            HeaderValue::from_str(&host)
                .map(|host| Some(DynamicHost::Literal(host)))
                .map_err(|_| Error::new("is no host").at_field("host_rewrite_literal"))
        }
        Some(Specifier::HostRewriteHeader(name)) if !name.is_empty() => {
            HeaderName::from_bytes(name.as_bytes())
                .map(|name| Some(DynamicHost::Header(name)))
                .map_err(|_| Error::new("is no header's name").at_field("host_rewrite_header"))
        }
        _ => Ok(None),
    }
}
