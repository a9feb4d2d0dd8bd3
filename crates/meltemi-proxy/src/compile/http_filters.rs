//! HTTP filters of a connection manager.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any::{self, Typed};
use super::context::Cx;
use super::pb::filters::http as proto;
use super::pb::hcm::{HttpFilter as FilterProto, http_filter};
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result};
use super::{dynamic, fault, istio, rbac, unsupported};
use crate::model::{HttpFilter, PeerMetadata};
use prost::Name;
use std::sync::Arc;

/// Filters that only compress, decompress or inspect; some control planes mark them optional.
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const ALPN: &str = "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig";
const PEER_METADATA: &str = "io.istio.http.peer_metadata.Config";
const COMPRESSOR: &str = "envoy.extensions.filters.http.compressor.v3.Compressor";

/// The filters before the router, and what Istio's filters switch on.
#[derive(Default)]
pub struct Filters {
    pub filters: Vec<HttpFilter>,
    pub istio_stats: bool,
    pub peer_metadata: PeerMetadata,
    router: bool,
}

pub fn all(values: Vec<FilterProto>, cx: &mut Cx<'_>) -> Result<Filters> {
    let mut filters = Filters::default();
    for (index, value) in values.into_iter().enumerate() {
        if filters.router {
            return Err(Error::new("follows the router")).nth("http_filters", index);
        }
        one(value, &mut filters, cx).nth("http_filters", index)?;
    }
    if !filters.router {
        return Err(Error::new("does not end with the router").at_field("http_filters"));
    }
    Ok(filters)
}

fn one(value: FilterProto, filters: &mut Filters, cx: &mut Cx<'_>) -> Result<()> {
    use http_filter::ConfigType;
    let FilterProto {
        name,
        is_optional,
        disabled,
        config_type,
    } = value;
    refuse!(disabled);
    let typed = match config_type {
        Some(ConfigType::TypedConfig(any)) => any::open(Some(any)).at("typed_config")?,
        Some(ConfigType::ConfigDiscovery(_)) => {
            return Err(Error::unsupported("config_discovery"));
        }
        None => return Err(Error::missing("typed_config")),
    };
    add(&name, is_optional, typed, filters, cx)
}

fn add(
    name: &str,
    optional: bool,
    typed: Typed,
    filters: &mut Filters,
    cx: &mut Cx<'_>,
) -> Result<()> {
    let kind = typed.type_name();
    if kind == ROUTER {
        router(typed, cx).at("typed_config")?;
        filters.router = true;
    } else if kind == proto::fault::v3::HttpFault::full_name() {
        let config = typed.decode().and_then(fault::fault).at("typed_config")?;
        filters.filters.push(HttpFilter::Fault(Arc::new(config)));
    } else if kind == proto::cors::v3::Cors::full_name() {
        filters.filters.push(HttpFilter::Cors);
    } else if kind == proto::rbac::v3::Rbac::full_name() {
        let config = typed.decode().and_then(rbac::filter).at("typed_config")?;
        filters
            .filters
            .extend(config.map(|config| HttpFilter::Rbac(Arc::new(config))));
    } else if kind == proto::grpc_stats::v3::FilterConfig::full_name() {
        let proto::grpc_stats::v3::FilterConfig {
            emit_filter_state,
            enable_upstream_stats,
            replace_dots_in_grpc_service_name,
            per_method_stat_specifier,
        } = typed.decode().at("typed_config")?;
        // Which of Envoy's statistics are written and how they are called: ours are Istio's.
        harmless!(
            emit_filter_state,
            enable_upstream_stats,
            replace_dots_in_grpc_service_name,
            per_method_stat_specifier
        );
        filters.filters.push(HttpFilter::GrpcStats);
    } else if kind == proto::dynamic_forward_proxy::v3::FilterConfig::full_name() {
        let config = typed.decode().and_then(|config| dynamic::http(config, cx));
        let cache = config.at("typed_config")?;
        filters.filters.push(HttpFilter::DynamicForward(cache));
    } else if kind == ALPN {
        let lists = istio::alpn(typed).at("typed_config")?;
        filters.filters.push(HttpFilter::Alpn(Arc::new(lists)));
    } else if kind == PEER_METADATA {
        filters.peer_metadata = istio::peer_metadata(typed).at("typed_config")?;
    } else if kind == istio::STATS {
        istio::stats(typed, cx).at("typed_config")?;
        filters.istio_stats = true;
    } else if kind == COMPRESSOR {
        cx.notice(
            "HttpFilter.compressor",
            "compression is not supported yet: bodies pass as they are",
        );
    } else if optional && !unsupported::is_policy(kind) {
        cx.notice("HttpFilter.is_optional", "an optional filter is left out");
    } else {
        return Err(unsupported::filter(name, kind));
    }
    Ok(())
}

fn router(typed: Typed, cx: &mut Cx<'_>) -> Result<()> {
    let proto::router::v3::Router {
        dynamic_stats,
        start_child_span,
        upstream_log,
        upstream_log_options,
        suppress_envoy_headers,
        strict_check_headers,
        respect_expected_rq_timeout,
        suppress_grpc_request_failure_code_stats,
        upstream_http_filters,
        reject_connect_request_early_data,
    } = typed.decode()?;
    refuse!(
        suppress_envoy_headers,
        strict_check_headers,
        respect_expected_rq_timeout,
        upstream_http_filters,
    );
    harmless!(
        dynamic_stats,
        start_child_span,
        suppress_grpc_request_failure_code_stats,
        reject_connect_request_early_data
    );
    left_out!(
        cx,
        "Router",
        "access logs of upstream requests are not written",
        upstream_log,
        upstream_log_options
    );
    Ok(())
}
