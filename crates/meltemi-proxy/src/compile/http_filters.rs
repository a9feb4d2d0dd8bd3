//! HTTP filters of a connection manager.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any::{self, Typed};
use super::context::Cx;
use super::pb::filters::http::router::v3::Router;
use super::pb::hcm::{HttpFilter as FilterProto, http_filter};
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result};
use super::{istio, unsupported};
use crate::model::{FilterId, HttpFilter, HttpFilters, PeerMetadata, StandardMetrics};
use std::sync::Arc;

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const PEER_METADATA: &str = "io.istio.http.peer_metadata.Config";

/// The filters before the router, and what Istio's filters switch on.
pub struct Filters {
    pub filters: HttpFilters,
    pub istio_stats: Option<Arc<StandardMetrics>>,
    pub peer_metadata: PeerMetadata,
}

pub fn all(values: Vec<FilterProto>, stat_prefix: &str, cx: &mut Cx<'_>) -> Result<Filters> {
    let mut chain = Chain {
        stat_prefix,
        filters: Vec::new(),
        istio_stats: None,
        peer_metadata: PeerMetadata::default(),
        router: false,
    };
    for (index, value) in values.into_iter().enumerate() {
        if chain.router {
            return Err(Error::new("follows the router")).nth("http_filters", index);
        }
        chain.add(value, cx).nth("http_filters", index)?;
    }
    if !chain.router {
        return Err(Error::new("does not end with the router").at_field("http_filters"));
    }
    if chain.filters.len() > HttpFilters::MAX {
        let most = HttpFilters::MAX;
        return Err(Error::new(format!("has more than {most} filters")).at_field("http_filters"));
    }
    Ok(Filters {
        filters: HttpFilters::new(chain.filters),
        istio_stats: chain.istio_stats,
        peer_metadata: chain.peer_metadata,
    })
}

struct Chain<'a> {
    stat_prefix: &'a str,
    filters: Vec<(FilterId, HttpFilter, bool)>,
    istio_stats: Option<Arc<StandardMetrics>>,
    peer_metadata: PeerMetadata,
    router: bool,
}

impl Chain<'_> {
    fn add(&mut self, value: FilterProto, cx: &mut Cx<'_>) -> Result<()> {
        use http_filter::ConfigType;
        let FilterProto {
            name,
            is_optional,
            disabled,
            config_type,
        } = value;
        let typed = match config_type {
            Some(ConfigType::TypedConfig(any)) => any::open(Some(any)).at("typed_config")?,
            Some(ConfigType::ConfigDiscovery(_)) => {
                return Err(Error::unsupported("config_discovery"));
            }
            None => return Err(Error::missing("typed_config")),
        };
        let kind = typed.type_name().to_owned();
        match &*kind {
            // These are no filters of requests here: what they do is the manager's.
            ROUTER | PEER_METADATA | istio::STATS => {
                refuse!(disabled);
                return self.special(typed, cx);
            }
            _ => {}
        }
        if let Some(filter) = HttpFilter::compile(typed, self.stat_prefix, cx) {
            let filter = filter.at("typed_config")?;
            self.filters
                .push((cx.names.filter(&name), filter, disabled));
        } else if is_optional && !unsupported::is_policy(&kind) {
            cx.notice("HttpFilter.is_optional", "an optional filter is left out");
        } else {
            return Err(unsupported::filter(&name, &kind));
        }
        Ok(())
    }

    fn special(&mut self, typed: Typed, cx: &mut Cx<'_>) -> Result<()> {
        match typed.type_name() {
            ROUTER => {
                router(typed, cx).at("typed_config")?;
                self.router = true;
            }
            PEER_METADATA => {
                self.peer_metadata = istio::peer_metadata(typed).at("typed_config")?;
            }
            _ => {
                let metrics = istio::stats(typed, cx).at("typed_config")?;
                self.istio_stats = Some(Arc::new(metrics));
            }
        }
        Ok(())
    }
}

fn router(typed: Typed, cx: &mut Cx<'_>) -> Result<()> {
    let Router {
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
