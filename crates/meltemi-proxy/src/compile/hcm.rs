//! The HTTP connection manager.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any;
use super::basic::{bool_or, from_ads, prefixes, timeout, u32_or};
use super::context::{Cx, RouteReference};
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result};
use super::{access_log, http_filters, pb, protocol, route_table, tracing as traces};
use crate::model::{
    ClientAddress, CodecType, EscapedSlashes, ForwardCertMode, ForwardClientCert,
    HostNormalization, HttpManager, HttpTimeouts, PathNormalization, RequestIdPolicy, RouteSource,
    ServerHeader, StripPort, UnderscoreAction,
};
use envoy_types::pb::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
use pb::hcm as proto;
use proto::http_connection_manager as nested;
use std::sync::Arc;
use std::time::Duration;

const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Envoy's `max_request_headers_kb` and `max_headers_count`.
const MAX_HEADERS_KIB: u32 = 60;
const MAX_HEADERS_COUNT: u32 = 100;

pub fn manager(value: proto::HttpConnectionManager, cx: &mut Cx<'_>) -> Result<HttpManager> {
    let codec = match value.codec_type() {
        nested::CodecType::Auto => CodecType::Auto,
        nested::CodecType::Http1 => CodecType::Http1,
        nested::CodecType::Http2 => CodecType::Http2,
        nested::CodecType::Http3 => {
            return Err(Error::new("HTTP3 is not supported").at_field("codec_type"));
        }
    };
    let server_header = match value.server_header_transformation() {
        nested::ServerHeaderTransformation::Overwrite => ServerHeader::Overwrite,
        nested::ServerHeaderTransformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
        nested::ServerHeaderTransformation::PassThrough => ServerHeader::PassThrough,
    };
    let cert_mode = match value.forward_client_cert_details() {
        nested::ForwardClientCertDetails::Sanitize => ForwardCertMode::Sanitize,
        nested::ForwardClientCertDetails::ForwardOnly => ForwardCertMode::ForwardOnly,
        nested::ForwardClientCertDetails::AppendForward => ForwardCertMode::AppendForward,
        nested::ForwardClientCertDetails::SanitizeSet => ForwardCertMode::SanitizeSet,
        nested::ForwardClientCertDetails::AlwaysForwardOnly => ForwardCertMode::AlwaysForwardOnly,
    };
    let escaped_slashes = match value.path_with_escaped_slashes_action() {
        nested::PathWithEscapedSlashesAction::ImplementationSpecificDefault
        | nested::PathWithEscapedSlashesAction::KeepUnchanged => EscapedSlashes::Keep,
        nested::PathWithEscapedSlashesAction::RejectRequest => EscapedSlashes::Reject,
        nested::PathWithEscapedSlashesAction::UnescapeAndRedirect => {
            EscapedSlashes::UnescapeAndRedirect
        }
        nested::PathWithEscapedSlashesAction::UnescapeAndForward => {
            EscapedSlashes::UnescapeAndForward
        }
    };
    let proto::HttpConnectionManager {
        codec_type: _,
        stat_prefix,
        http_filters,
        add_user_agent,
        tracing,
        common_http_protocol_options,
        http1_safe_max_connection_duration,
        http_protocol_options,
        http2_protocol_options,
        http3_protocol_options,
        server_name,
        server_header_transformation: _,
        scheme_header_transformation,
        max_request_headers_kb,
        stream_idle_timeout,
        stream_flush_timeout,
        request_timeout,
        request_headers_timeout,
        drain_timeout,
        drain_timeout_jitter,
        delayed_close_timeout,
        access_log,
        access_log_flush_interval,
        flush_access_log_on_new_request,
        access_log_options,
        use_remote_address,
        xff_num_trusted_hops,
        original_ip_detection_extensions,
        early_header_mutation_extensions,
        internal_address_config,
        skip_xff_append,
        via,
        generate_request_id,
        preserve_external_request_id,
        always_set_request_id_in_response,
        forward_client_cert_details: _,
        set_current_client_cert_details,
        forward_client_cert_matcher,
        proxy_100_continue,
        represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
        upgrade_configs,
        normalize_path,
        merge_slashes,
        path_with_escaped_slashes_action: _,
        request_id_extension,
        local_reply_config,
        strip_matching_host_port,
        stream_error_on_invalid_http_message,
        path_normalization_options,
        strip_trailing_host_dot,
        proxy_status_config,
        typed_header_validation_config,
        append_x_forwarded_port,
        append_local_overload,
        add_proxy_protocol_connection_state,
        forward_proto_config,
        route_specifier,
        strip_port_mode,
    } = value;
    if bool_or(add_user_agent, false) {
        return Err(Error::unsupported("add_user_agent"));
    }
    refuse!(
        http1_safe_max_connection_duration,
        http3_protocol_options,
        scheme_header_transformation,
        stream_flush_timeout,
        drain_timeout_jitter,
        original_ip_detection_extensions,
        early_header_mutation_extensions,
        forward_client_cert_matcher,
        represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
        local_reply_config,
        path_normalization_options,
        proxy_status_config,
        typed_header_validation_config,
        append_x_forwarded_port,
        forward_proto_config,
    );
    // Only about connections that came with the PROXY protocol, which listeners refuse.
    harmless!(add_proxy_protocol_connection_state);
    left_out!(
        cx,
        "HttpConnectionManager",
        "access log lines are written at the end of an exchange only",
        access_log_flush_interval,
        flush_access_log_on_new_request,
        access_log_options,
    );
    left_out!(
        cx,
        "HttpConnectionManager",
        "connections close without waiting for the peer",
        delayed_close_timeout
    );
    let common =
        common_options(common_http_protocol_options, cx).at("common_http_protocol_options")?;
    let http1 =
        protocol::http1(http_protocol_options.unwrap_or_default()).at("http_protocol_options")?;
    let http2 = protocol::http2(http2_protocol_options.unwrap_or_default(), cx)
        .at("http2_protocol_options")?;
    let filters = http_filters::all(http_filters, &stat_prefix, cx)?;
    Ok(HttpManager {
        stat_prefix: stat_prefix.into(),
        codec,
        routes: routes(route_specifier, cx)?,
        filters: filters.filters,
        http1: http1.options,
        http2: http2.options,
        server_name: if server_name.is_empty() {
            "envoy".into()
        } else {
            server_name.into()
        },
        server_header,
        addresses: addresses(
            use_remote_address,
            xff_num_trusted_hops,
            skip_xff_append,
            internal_address_config,
        )?,
        client_cert: client_cert(cert_mode, set_current_client_cert_details)
            .at("set_current_client_cert_details")?,
        path: PathNormalization {
            normalize: bool_or(normalize_path, false),
            merge_slashes,
            escaped_slashes,
        },
        underscores: common.underscores,
        host: HostNormalization {
            strip_port: match strip_port_mode {
                Some(nested::StripPortMode::StripAnyHostPort(true)) => StripPort::Any,
                _ if strip_matching_host_port => StripPort::Matching,
                _ => StripPort::No,
            },
            strip_trailing_dot: strip_trailing_host_dot,
        },
        request_id: {
            let (marks_traces, samples) =
                request_id(request_id_extension).at("request_id_extension")?;
            RequestIdPolicy {
                generate: bool_or(generate_request_id, true),
                preserve_external: preserve_external_request_id,
                always_set_in_response: always_set_request_id_in_response,
                marks_traces,
                samples,
            }
        },
        timeouts: HttpTimeouts {
            request: timeout(request_timeout, None).at("request_timeout")?,
            request_headers: timeout(request_headers_timeout, None)
                .at("request_headers_timeout")?,
            stream_idle: timeout(stream_idle_timeout, Some(STREAM_IDLE_TIMEOUT))
                .at("stream_idle_timeout")?,
            connection_idle: common.idle,
            max_connection_duration: common.max_connection_duration,
            max_stream_duration: common.max_stream_duration,
            drain: super::basic::duration_or(drain_timeout, DRAIN_TIMEOUT).at("drain_timeout")?,
        },
        max_request_headers: u32_or(max_request_headers_kb, MAX_HEADERS_KIB).saturating_mul(1024),
        max_request_header_count: common.max_headers_count,
        max_requests_per_connection: common.max_requests,
        append_local_overload,
        upgrades: upgrades(upgrade_configs).at("upgrade_configs")?,
        access_logs: access_log::all(access_log, cx)?,
        tracing: tracing
            .map(|tracing| traces::of_manager(tracing, cx).map(Box::new))
            .transpose()
            .at("tracing")?,
        via: (!via.is_empty()).then(|| via.into()),
        proxy_100_continue,
        stream_error_on_invalid_message: stream_error_on_invalid_http_message
            .map(|value| value.value)
            .or(http1.stream_error)
            .or(http2.stream_error)
            .unwrap_or(false),
        istio_stats: filters.istio_stats,
        peer_metadata: filters.peer_metadata,
    })
}

struct Common {
    idle: Option<Duration>,
    max_connection_duration: Option<Duration>,
    max_stream_duration: Option<Duration>,
    max_headers_count: u32,
    max_requests: Option<u32>,
    underscores: UnderscoreAction,
}

fn common_options(value: Option<pb::core::HttpProtocolOptions>, cx: &mut Cx<'_>) -> Result<Common> {
    use pb::core::http_protocol_options::HeadersWithUnderscoresAction;
    let value = value.unwrap_or_default();
    let underscores = match value.headers_with_underscores_action() {
        HeadersWithUnderscoresAction::Allow => UnderscoreAction::Allow,
        HeadersWithUnderscoresAction::RejectRequest => UnderscoreAction::RejectRequest,
        HeadersWithUnderscoresAction::DropHeader => UnderscoreAction::DropHeader,
    };
    let pb::core::HttpProtocolOptions {
        idle_timeout,
        max_connection_duration,
        max_connection_duration_jitter,
        max_headers_count,
        max_response_headers_kb,
        max_stream_duration,
        headers_with_underscores_action: _,
        max_requests_per_connection,
    } = value;
    // Means upstream connections only.
    harmless!(max_response_headers_kb);
    left_out!(
        cx,
        "HttpProtocolOptions",
        "connections end without jitter",
        max_connection_duration_jitter
    );
    Ok(Common {
        idle: timeout(idle_timeout, Some(IDLE_TIMEOUT)).at("idle_timeout")?,
        max_connection_duration: timeout(max_connection_duration, None)
            .at("max_connection_duration")?,
        max_stream_duration: timeout(max_stream_duration, None).at("max_stream_duration")?,
        max_headers_count: u32_or(max_headers_count, MAX_HEADERS_COUNT),
        max_requests: max_requests_per_connection
            .map(|value| value.value)
            .filter(|value| *value > 0),
        underscores,
    })
}

fn routes(value: Option<nested::RouteSpecifier>, cx: &mut Cx<'_>) -> Result<RouteSource> {
    use nested::RouteSpecifier;
    match value {
        None => Err(Error::missing("route_config")),
        Some(RouteSpecifier::RouteConfig(config)) => {
            let table = route_table::route_table(config, cx).at("route_config")?;
            Ok(RouteSource::Inline(Arc::new(table)))
        }
        Some(RouteSpecifier::Rds(proto::Rds {
            config_source,
            route_config_name,
        })) => {
            let fetch_timeout = from_ads(config_source).at("config_source").at("rds")?;
            let id = cx.names.route_table(&route_config_name);
            let reference = RouteReference {
                name: route_config_name.as_str().into(),
                fetch_timeout,
            };
            if !cx.references.routes.contains(&reference) {
                cx.references.routes.push(reference);
            }
            Ok(RouteSource::Rds(id, route_config_name.into()))
        }
        Some(RouteSpecifier::ScopedRoutes(_)) => Err(Error::unsupported("scoped_routes")),
    }
}

fn addresses(
    use_remote_address: Option<pb::wkt::BoolValue>,
    trusted_hops: u32,
    skip_xff_append: bool,
    internal: Option<nested::InternalAddressConfig>,
) -> Result<ClientAddress> {
    let internal = match internal {
        None => Vec::new(),
        Some(nested::InternalAddressConfig {
            unix_sockets,
            cidr_ranges,
        }) => {
            // Listeners have no Unix sockets.
            harmless!(unix_sockets);
            prefixes(cidr_ranges, "internal_address_config.cidr_ranges")?
        }
    };
    Ok(ClientAddress {
        use_remote_address: bool_or(use_remote_address, false),
        trusted_hops,
        skip_xff_append,
        internal,
    })
}

fn client_cert(
    mode: ForwardCertMode,
    value: Option<nested::SetCurrentClientCertDetails>,
) -> Result<ForwardClientCert> {
    let nested::SetCurrentClientCertDetails {
        subject,
        cert,
        chain,
        dns,
        uri,
        issuer,
        format,
    } = value.unwrap_or_default();
    refuse!(issuer, format);
    Ok(ForwardClientCert {
        mode,
        subject: bool_or(subject, false),
        cert,
        chain,
        dns,
        uri,
    })
}

/// Only the UUID extension is known. Whether ids are marked, and whether they sample.
fn request_id(value: Option<proto::RequestIdExtension>) -> Result<(bool, bool)> {
    let Some(proto::RequestIdExtension { typed_config }) = value else {
        return Ok((true, true));
    };
    let UuidRequestIdConfig {
        pack_trace_reason,
        use_request_id_for_trace_sampling,
    } = any::open(typed_config)
        .and_then(any::Typed::decode)
        .at("typed_config")?;
    Ok((
        bool_or(pack_trace_reason, true),
        bool_or(use_request_id_for_trace_sampling, true),
    ))
}

fn upgrades(values: Vec<nested::UpgradeConfig>) -> Result<Box<[Box<str>]>> {
    let mut tokens = Vec::with_capacity(values.len());
    for value in values {
        let nested::UpgradeConfig {
            upgrade_type,
            filters,
            enabled,
        } = value;
        refuse!(filters);
        if bool_or(enabled, true) {
            tokens.push(protocol::upgrade_token(&upgrade_type)?);
        }
    }
    Ok(tokens.into())
}
