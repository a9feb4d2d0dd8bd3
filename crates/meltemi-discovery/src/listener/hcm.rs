//! HTTP connection managers.

use envoy_types::pb::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use meltemi_api::mesh::{ForwardClientCertDetails, PathNormalizationType};

use super::access_log;
use super::filters::{self, Side};
use super::{metrics, tracing};
use crate::pb::{self, hcm, listener, route};
use crate::proxy::Proxy;
use crate::world::scope::Scope;
use hcm::http_connection_manager as parts;

/// Where a connection manager's routes come from.
pub enum Routes {
    /// RDS, by name.
    Named(String),
    Inline(Box<route::RouteConfiguration>),
}

/// The network filter of a connection manager. `caches`: where hosts of requests are resolved.
/// `grpc_web`: the protocol of the port is gRPC-Web.
pub fn filter(
    scope: &Scope<'_>,
    proxy: &Proxy,
    side: Side,
    stat_prefix: String,
    routes: Routes,
    caches: Vec<DnsCacheConfig>,
    grpc_web: bool,
) -> listener::Filter {
    let mesh = &scope.world.mesh;
    let (tracing, request_ids) = tracing::of(scope, proxy, side);
    let stats = metrics::of(scope, proxy, side);
    let mut manager = hcm::HttpConnectionManager {
        stat_prefix,
        route_specifier: Some(match routes {
            Routes::Named(name) => parts_rds(name),
            Routes::Inline(config) => {
                hcm::http_connection_manager::RouteSpecifier::RouteConfig(*config)
            }
        }),
        access_log: access_log::all(scope, proxy, side.mode()),
        http_filters: filters::http(side, proxy.flavor, caches, stats, grpc_web),
        upgrade_configs: vec![parts::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..Default::default()
        }],
        use_remote_address: pb::boolv(side == Side::Gateway),
        normalize_path: pb::boolv(true),
        path_with_escaped_slashes_action: parts::PathWithEscapedSlashesAction::KeepUnchanged as i32,
        proxy_100_continue: true,
        // A request may wait for as long as its route's timeout allows.
        stream_idle_timeout: Some(pb::seconds(0)),
        request_id_extension: Some(request_ids),
        tracing,
        ..Default::default()
    };
    let normalization = mesh.config.path_normalization.as_ref();
    match normalization.map(|normalization| normalization.normalization) {
        Some(PathNormalizationType::None) => manager.normalize_path = pb::boolv(false),
        Some(PathNormalizationType::MergeSlashes) => manager.merge_slashes = true,
        Some(PathNormalizationType::DecodeAndMergeSlashes) => {
            manager.merge_slashes = true;
            manager.path_with_escaped_slashes_action =
                parts::PathWithEscapedSlashesAction::UnescapeAndForward as i32;
        }
        Some(PathNormalizationType::Default | PathNormalizationType::Base) | None => {}
    }
    match side {
        Side::Outbound => {}
        Side::Inbound => {
            manager.server_name = "istio-envoy".to_owned();
            manager.forward_client_cert_details =
                parts::ForwardClientCertDetails::AppendForward as i32;
            manager.set_current_client_cert_details = Some(certificate_details(false));
        }
        Side::Gateway => {
            manager.server_name = "istio-envoy".to_owned();
            let topology = mesh.topology();
            manager.xff_num_trusted_hops =
                topology.map_or(0, |topology| topology.num_trusted_proxies);
            let details = topology.map(|topology| topology.forward_client_cert_details);
            manager.forward_client_cert_details = client_certificate(details) as i32;
            manager.set_current_client_cert_details = Some(certificate_details(true));
            manager.http_protocol_options = Some(Default::default());
        }
    }
    filters::network("envoy.filters.network.http_connection_manager", &manager)
}

fn parts_rds(name: String) -> hcm::http_connection_manager::RouteSpecifier {
    hcm::http_connection_manager::RouteSpecifier::Rds(hcm::Rds {
        config_source: Some(pb::ads()),
        route_config_name: name,
    })
}

/// What becomes of `x-forwarded-client-cert` at a gateway.
fn client_certificate(
    details: Option<ForwardClientCertDetails>,
) -> parts::ForwardClientCertDetails {
    use parts::ForwardClientCertDetails as Envoy;
    match details {
        None
        | Some(ForwardClientCertDetails::Undefined | ForwardClientCertDetails::SanitizeSet) => {
            Envoy::SanitizeSet
        }
        Some(ForwardClientCertDetails::Sanitize) => Envoy::Sanitize,
        Some(ForwardClientCertDetails::ForwardOnly) => Envoy::ForwardOnly,
        Some(ForwardClientCertDetails::AppendForward) => Envoy::AppendForward,
        Some(ForwardClientCertDetails::AlwaysForwardOnly) => Envoy::AlwaysForwardOnly,
    }
}

/// What of a client's certificate is told to the application.
fn certificate_details(certificate: bool) -> parts::SetCurrentClientCertDetails {
    parts::SetCurrentClientCertDetails {
        subject: pb::boolv(true),
        cert: certificate,
        dns: true,
        uri: true,
        ..Default::default()
    }
}
