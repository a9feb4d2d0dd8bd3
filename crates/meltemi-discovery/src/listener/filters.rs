//! The network, HTTP and listener filters that Istio puts everywhere.

use envoy_types::pb::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::Cors;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::grpc_stats::v3 as grpc_stats;
use envoy_types::pb::envoy::extensions::filters::http::grpc_web::v3::GrpcWeb;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use envoy_types::pb::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use prost::{Message, Name};
use serde_json::json;

use crate::dynamic;
use crate::pb::istio::{AlpnFilterConfig, AlpnOverride, typed_struct};
use crate::pb::{self, Any, hcm, listener};
use crate::proxy::Flavor;
use crate::world::telemetry::Mode;

/// On which side of a request a filter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Inbound,
    Outbound,
    Gateway,
}

impl Side {
    /// Whose end of the connection the proxy stands for.
    pub fn mode(self) -> Mode {
        match self {
            Self::Inbound => Mode::Server,
            Self::Outbound | Self::Gateway => Mode::Client,
        }
    }
}

pub fn network<M: Message + Name>(name: &str, config: &M) -> listener::Filter {
    network_any(name, pb::any(config))
}

pub fn network_any(name: &str, config: Any) -> listener::Filter {
    listener::Filter {
        name: name.to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(config)),
    }
}

pub fn http_any(name: &str, config: Any) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

/// The HTTP filters of a connection manager, in Istio's order; Envoy's own build gets only
/// those it knows. `caches`: where hosts of requests are resolved. `stats`: of Istio's metrics, if
/// there are to be any. `grpc_web`: the port's protocol is gRPC-Web.
pub fn http(
    side: Side,
    flavor: Flavor,
    caches: Vec<DnsCacheConfig>,
    stats: Option<Any>,
    grpc_web: bool,
) -> Vec<hcm::HttpFilter> {
    let istio = flavor == Flavor::Meltemi;
    let mut filters = Vec::new();
    if istio {
        filters.push(http_any(
            "istio.metadata_exchange",
            http_peer_metadata(side),
        ));
    }
    if grpc_web {
        let config = pb::any(&GrpcWeb {});
        filters.push(http_any("envoy.filters.http.grpc_web", config));
    }
    filters.push(http_any(
        "envoy.filters.http.grpc_stats",
        pb::any(&grpc_stats::FilterConfig {
            emit_filter_state: true,
            per_method_stat_specifier: Some(
                grpc_stats::filter_config::PerMethodStatSpecifier::StatsForAllMethods(
                    pb::BoolValue { value: false },
                ),
            ),
            ..Default::default()
        }),
    ));
    if istio && side != Side::Inbound {
        filters.push(http_any("istio.alpn", pb::any(&alpn())));
    }
    filters.push(http_any(
        "envoy.filters.http.fault",
        pb::any(&HttpFault::default()),
    ));
    filters.push(http_any("envoy.filters.http.cors", pb::any(&Cors {})));
    filters.extend(stats.map(|stats| http_any("istio.stats", stats)));
    filters.extend(caches.into_iter().map(dynamic::http));
    filters.push(http_any(
        "envoy.filters.http.router",
        pb::any(&Router::default()),
    ));
    filters
}

/// Who the peer is: asked for in headers, then looked up by address.
fn http_peer_metadata(side: Side) -> Any {
    let discovery = json!([{"istio_headers": {}}, {"workload_discovery": {}}]);
    let propagation = json!([{"istio_headers": {}}]);
    let config = match side {
        Side::Inbound => {
            json!({"downstream_discovery": discovery, "downstream_propagation": propagation})
        }
        Side::Outbound | Side::Gateway => {
            json!({"upstream_discovery": discovery, "upstream_propagation": propagation})
        }
    };
    typed_struct(
        "type.googleapis.com/io.istio.http.peer_metadata.Config",
        &config,
    )
}

/// The same for connections without HTTP.
pub fn tcp_peer_metadata() -> Any {
    typed_struct(
        "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange",
        &json!({"enable_discovery": true, "protocol": "istio-peer-exchange"}),
    )
}

/// ALPN towards sidecars: `istio-` names tell the server that HTTP follows.
fn alpn() -> AlpnFilterConfig {
    let entry = |protocol: i32, names: [&str; 3]| AlpnOverride {
        upstream_protocol: protocol,
        alpn_override: names.map(str::to_owned).to_vec(),
    };
    AlpnFilterConfig {
        alpn_override: vec![
            entry(0, ["istio-http/1.0", "istio", "http/1.0"]),
            entry(1, ["istio-http/1.1", "istio", "http/1.1"]),
            entry(2, ["istio-h2", "istio", "h2"]),
        ],
    }
}

fn listener_filter<M: Message + Name>(name: &str, config: &M) -> listener::ListenerFilter {
    listener::ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener::listener_filter::ConfigType::TypedConfig(pb::any(
            config,
        ))),
        ..Default::default()
    }
}

pub fn original_destination() -> listener::ListenerFilter {
    listener_filter(
        "envoy.filters.listener.original_dst",
        &OriginalDst::default(),
    )
}

/// A load balancer in front says who its client is.
pub fn proxy_protocol() -> listener::ListenerFilter {
    listener_filter(
        "envoy.filters.listener.proxy_protocol",
        &ProxyProtocol::default(),
    )
}

pub fn tls_inspector() -> listener::ListenerFilter {
    listener_filter(
        "envoy.filters.listener.tls_inspector",
        &TlsInspector {
            // Enough for most ClientHellos; it grows for the others.
            initial_read_buffer_size: pb::u32v(512),
            ..Default::default()
        },
    )
}

pub fn http_inspector() -> listener::ListenerFilter {
    listener_filter(
        "envoy.filters.listener.http_inspector",
        &HttpInspector::default(),
    )
}
