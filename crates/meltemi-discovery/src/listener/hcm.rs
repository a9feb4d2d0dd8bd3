//! HTTP connection managers.

use envoy_types::pb::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use envoy_types::pb::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
use envoy_types::pb::envoy::r#type::metadata::v3::{
    MetadataKey, MetadataKind, metadata_key, metadata_kind,
};
use envoy_types::pb::envoy::r#type::tracing::v3::{CustomTag, custom_tag};
use meltemi_api::mesh::{ForwardClientCertDetails, PathNormalizationType};

use super::access_log;
use super::filters::{self, Side};
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
pub fn filter(
    scope: &Scope<'_>,
    proxy: &Proxy,
    side: Side,
    stat_prefix: String,
    routes: Routes,
    caches: Vec<DnsCacheConfig>,
) -> listener::Filter {
    let mesh = &scope.world.mesh;
    let mut manager = hcm::HttpConnectionManager {
        stat_prefix,
        route_specifier: Some(match routes {
            Routes::Named(name) => parts_rds(name),
            Routes::Inline(config) => {
                hcm::http_connection_manager::RouteSpecifier::RouteConfig(*config)
            }
        }),
        access_log: access_log::all(&mesh.config),
        http_filters: filters::http(side, proxy.flavor, caches),
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
        request_id_extension: Some(hcm::RequestIdExtension {
            typed_config: Some(pb::any(&UuidRequestIdConfig {
                use_request_id_for_trace_sampling: pb::boolv(true),
                ..Default::default()
            })),
        }),
        tracing: mesh.tracing.then(|| tracing(scope, proxy)),
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

fn tracing(scope: &Scope<'_>, proxy: &Proxy) -> parts::Tracing {
    let mesh = &scope.world.mesh;
    let mut tags: Vec<CustomTag> = [
        ("allow_policy.name", "allow_shadow_effective_policy_id"),
        ("allow_policy.result", "allow_shadow_engine_result"),
        ("deny_policy.name", "deny_shadow_effective_policy_id"),
        ("deny_policy.result", "deny_shadow_engine_result"),
    ]
    .iter()
    .map(|(tag, key)| dry_run_tag(tag, key))
    .collect();
    let mesh_id = if proxy.mesh_id.is_empty() {
        &mesh.trust_domain
    } else {
        &proxy.mesh_id
    };
    for (tag, value) in [
        ("istio.canonical_revision", proxy.canonical_revision()),
        ("istio.canonical_service", proxy.canonical_service()),
        ("istio.cluster_id", &proxy.cluster_id),
        ("istio.mesh_id", mesh_id),
        ("istio.namespace", &proxy.namespace),
    ] {
        tags.push(CustomTag {
            tag: tag.to_owned(),
            r#type: Some(custom_tag::Type::Literal(custom_tag::Literal {
                value: value.to_owned(),
            })),
        });
    }
    parts::Tracing {
        client_sampling: pb::percent(100.0),
        random_sampling: pb::percent(mesh.trace_sampling),
        overall_sampling: pb::percent(100.0),
        custom_tags: tags,
        ..Default::default()
    }
}

/// The verdict that a policy in dry run would have given.
fn dry_run_tag(tag: &str, key: &str) -> CustomTag {
    let kind = MetadataKind {
        kind: Some(metadata_kind::Kind::Request(Default::default())),
    };
    let segment = metadata_key::PathSegment {
        segment: Some(metadata_key::path_segment::Segment::Key(format!(
            "istio_dry_run_{key}"
        ))),
    };
    CustomTag {
        tag: format!("istio.authorization.dry_run.{tag}"),
        r#type: Some(custom_tag::Type::Metadata(custom_tag::Metadata {
            kind: Some(kind),
            metadata_key: Some(MetadataKey {
                key: "envoy.filters.http.rbac".to_owned(),
                path: vec![segment],
            }),
            ..Default::default()
        })),
    }
}
