//! Which HTTP a cluster speaks, and how long its connections live.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any;
use super::basic::timeout;
use super::context::Cx;
use super::presence::{harmless, left_out, refuse};
use super::protocol::{http1, http2};
use super::{At, Error, Result, pb};
use crate::model::{Http1Options, Http2Options, UpstreamHttp1, UpstreamProtocol};
use pb::core;
use pb::upstream as proto;
use prost::Name;
use std::collections::HashMap;
use std::time::Duration;

const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
const CODEC_FILTER: &str = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";

/// The fields of a cluster that speak of HTTP, old and new.
pub struct Input {
    pub typed: HashMap<String, pb::wkt::Any>,
    pub common: Option<core::HttpProtocolOptions>,
    pub http1: Option<core::Http1ProtocolOptions>,
    pub http2: Option<core::Http2ProtocolOptions>,
    pub upstream: Option<core::UpstreamHttpProtocolOptions>,
    /// `protocol_selection: USE_DOWNSTREAM_PROTOCOL`.
    pub downstream_protocol: bool,
}

pub struct Protocol {
    pub protocol: UpstreamProtocol,
    pub http1: UpstreamHttp1,
    pub http2: Http2Options,
    pub idle_timeout: Option<Duration>,
    pub max_connection_duration: Option<Duration>,
    pub max_requests_per_connection: Option<u32>,
    pub auto: super::tls::Auto,
}

pub fn compile(input: Input, cx: &mut Cx<'_>) -> Result<Protocol> {
    let Input {
        typed,
        common,
        http1,
        http2,
        upstream,
        downstream_protocol,
    } = input;
    let mut options = None;
    for (name, config) in typed {
        let field = format!("typed_extension_protocol_options[{name}]");
        let typed = any::open(Some(config)).at(&field)?;
        if typed.type_name() != proto::HttpProtocolOptions::full_name() {
            return Err(Error::new(format!(
                "{} is not supported",
                typed.type_name()
            )))
            .at(&field);
        }
        options = Some((typed.decode().at(&field)?, field));
    }
    if let Some((options, field)) = options {
        // They replace the cluster's own fields, as in Envoy.
        return from_options(options, cx).at(&field);
    }
    let chosen = match (downstream_protocol, http2.is_some()) {
        (true, _) => UpstreamProtocol::Downstream,
        (false, true) => UpstreamProtocol::Http2,
        (false, false) => UpstreamProtocol::Http1,
    };
    finish(
        chosen,
        http1.unwrap_or_default(),
        http2.unwrap_or_default(),
        common,
        upstream,
        cx,
    )
}

fn from_options(value: proto::HttpProtocolOptions, cx: &mut Cx<'_>) -> Result<Protocol> {
    use proto::http_protocol_options::{
        AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
        explicit_http_config::ProtocolConfig,
    };
    let proto::HttpProtocolOptions {
        common_http_protocol_options,
        upstream_http_protocol_options,
        http_filters,
        header_validation_config,
        outlier_detection,
        request_mirror_policies,
        hash_policy,
        retry_policy,
        upstream_protocol_options,
    } = value;
    refuse!(
        header_validation_config,
        outlier_detection,
        request_mirror_policies,
        hash_policy,
        retry_policy
    );
    for (index, filter) in http_filters.into_iter().enumerate() {
        let typed = any::open(filter.config_type.and_then(|config| match config {
            pb::hcm::http_filter::ConfigType::TypedConfig(any) => Some(any),
            pb::hcm::http_filter::ConfigType::ConfigDiscovery(_) => None,
        }))
        .nth("http_filters", index)?;
        if typed.type_name() != CODEC_FILTER {
            return Err(super::unsupported::filter(&filter.name, typed.type_name()))
                .nth("http_filters", index);
        }
    }
    let (protocol, http1, http2) = match upstream_protocol_options {
        None => return Err(Error::missing("explicit_http_config")),
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config,
        })) => match protocol_config {
            Some(ProtocolConfig::HttpProtocolOptions(options)) => {
                (UpstreamProtocol::Http1, Some(options), None)
            }
            Some(ProtocolConfig::Http2ProtocolOptions(options)) => {
                (UpstreamProtocol::Http2, None, Some(options))
            }
            Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                return Err(Error::unsupported(
                    "explicit_http_config.http3_protocol_options",
                ));
            }
            None => return Err(Error::new("is empty").at_field("explicit_http_config")),
        },
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
            http_protocol_options,
            http2_protocol_options,
            http3_protocol_options,
        })) => {
            // Downstream HTTP/3 does not exist here.
            harmless!(http3_protocol_options);
            (
                UpstreamProtocol::Downstream,
                http_protocol_options,
                http2_protocol_options,
            )
        }
        Some(UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http_protocol_options,
            http2_protocol_options,
            http3_protocol_options,
            alternate_protocols_cache_options,
        })) => {
            refuse!(http3_protocol_options);
            harmless!(alternate_protocols_cache_options);
            (
                UpstreamProtocol::Alpn,
                http_protocol_options,
                http2_protocol_options,
            )
        }
    };
    finish(
        protocol,
        http1.unwrap_or_default(),
        http2.unwrap_or_default(),
        common_http_protocol_options,
        upstream_http_protocol_options,
        cx,
    )
}

fn finish(
    protocol: UpstreamProtocol,
    http1_options: core::Http1ProtocolOptions,
    http2_options: core::Http2ProtocolOptions,
    common: Option<core::HttpProtocolOptions>,
    upstream: Option<core::UpstreamHttpProtocolOptions>,
    cx: &mut Cx<'_>,
) -> Result<Protocol> {
    let Http1Options {
        preserve_case,
        proper_case,
        enable_trailers,
        // Only servers read these.
        accept_http_10: _,
        default_host_for_http_10: _,
        allow_absolute_url: _,
    } = http1(http1_options).at("http_protocol_options")?.options;
    let http2 = http2(http2_options, cx).at("http2_protocol_options")?;
    let core::UpstreamHttpProtocolOptions {
        auto_sni,
        auto_san_validation,
        override_auto_sni_header,
    } = upstream.unwrap_or_default();
    refuse!(override_auto_sni_header);
    if auto_san_validation && !auto_sni {
        return Err(Error::new("needs auto_sni").at_field("auto_san_validation"));
    }
    let core::HttpProtocolOptions {
        idle_timeout,
        max_connection_duration,
        max_connection_duration_jitter,
        max_headers_count,
        max_response_headers_kb,
        max_stream_duration,
        headers_with_underscores_action,
        max_requests_per_connection,
    } = common.unwrap_or_default();
    refuse!(max_stream_duration, headers_with_underscores_action);
    left_out!(
        cx,
        "HttpProtocolOptions",
        "responses have the codec's own bounds",
        max_headers_count,
        max_response_headers_kb,
        max_connection_duration_jitter,
    );
    Ok(Protocol {
        protocol,
        http1: UpstreamHttp1 {
            trailers: enable_trailers,
            proper_case,
            preserve_case,
        },
        http2: http2.options,
        idle_timeout: timeout(idle_timeout, Some(IDLE_TIMEOUT)).at("idle_timeout")?,
        max_connection_duration: timeout(max_connection_duration, None)
            .at("max_connection_duration")?,
        max_requests_per_connection: max_requests_per_connection.map(|value| value.value),
        auto: super::tls::Auto {
            sni: auto_sni,
            san: auto_san_validation,
        },
    })
}
