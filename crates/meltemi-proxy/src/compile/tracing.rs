//! Tracing: sampling, tags and tracers.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any;
use super::basic::{bool_or, fraction, u32_or};
use super::context::Cx;
use super::matching::header_name;
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result, collector, pb};
use crate::model::{
    Content, Decorator, Feed, LogFormat, Sampling, SpanTag, TagValue, TraceProvider, TraceRule,
    Tracer, Tracing,
};
use crate::telemetry::log::{format_reads_answers, parse_text};
use crate::telemetry::otlp;
use envoy_types::pb::envoy::config::trace::v3 as trace;
use envoy_types::pb::envoy::extensions::tracers::opentelemetry::resource_detectors::v3 as detectors;
use envoy_types::pb::envoy::r#type::tracing::v3 as tracing;
use http::HeaderValue;
use pb::hcm::http_connection_manager as manager;
use pb::{core, route, types};
use prost::Name;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Envoy's `max_path_tag_length`.
const MAX_PATH: u32 = 256;
/// Spans of a batch and the time that one waits for others, as Envoy's tracers have them.
const BATCH_SPANS: u32 = 5;
const INTERVAL: Duration = Duration::from_secs(5);
/// Bytes of a batch of spans.
const BATCH_BYTES: u32 = 1 << 20;
/// Spans that wait (Envoy's `max_cache_size`).
const MAX_SPANS: u32 = 1024;
/// For Zipkin's answer, as in Envoy.
const ZIPKIN_TIMEOUT: Duration = Duration::from_secs(5);
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub fn of_manager(value: manager::Tracing, cx: &mut Cx<'_>) -> Result<Tracing> {
    let manager::Tracing {
        client_sampling,
        random_sampling,
        overall_sampling,
        verbose,
        max_path_tag_length,
        custom_tags,
        provider,
        spawn_upstream_span,
        operation,
        upstream_operation,
        no_context_propagation,
    } = value;
    let whole = |value: Option<types::Percent>| {
        let percent = value.map_or(100.0, |value| value.value.clamp(0.0, 100.0));
        (percent as u32, 100)
    };
    let random = random_sampling.map_or(100.0, |value| value.value.clamp(0.0, 100.0));
    let rule = TraceRule {
        sampling: Sampling {
            client: whole(client_sampling),
            random: ((random * 100.0).round() as u32, 10_000),
            overall: whole(overall_sampling),
        },
        tags: tags(custom_tags, cx)?,
        operation: format(&operation).at("operation")?,
        upstream_operation: format(&upstream_operation).at("upstream_operation")?,
    };
    Ok(Tracing {
        provider: match provider {
            Some(provider) => of_provider(provider, cx).at("provider")?,
            None => None,
        },
        reads_answers: reads_answers(&rule),
        rule,
        max_path: u32_or(max_path_tag_length, MAX_PATH),
        verbose,
        spawn_upstream_span: bool_or(spawn_upstream_span, false),
        propagates: !no_context_propagation,
    })
}

/// `Route.tracing`: what it leaves out is as if it said everything or nothing, not as the
/// connection manager has it (Envoy), but for tags.
pub fn of_route(value: route::Tracing, cx: &mut Cx<'_>) -> Result<TraceRule> {
    let route::Tracing {
        client_sampling,
        random_sampling,
        overall_sampling,
        custom_tags,
        operation,
        upstream_operation,
    } = value;
    let share = |value: Option<types::FractionalPercent>| value.map_or((100, 100), fraction);
    Ok(TraceRule {
        sampling: Sampling {
            client: share(client_sampling),
            random: share(random_sampling),
            overall: share(overall_sampling),
        },
        tags: tags(custom_tags, cx)?,
        operation: format(&operation).at("operation")?,
        upstream_operation: format(&upstream_operation).at("upstream_operation")?,
    })
}

pub fn decorator(value: route::Decorator) -> Result<Decorator> {
    let route::Decorator {
        operation,
        propagate,
    } = value;
    Ok(Decorator {
        operation: HeaderValue::from_str(&operation)
            .map_err(|_| Error::new(format!("{operation:?} is not a header value")))
            .at("operation")?,
        propagate: bool_or(propagate, true),
    })
}

fn format(text: &str) -> Result<Option<LogFormat>> {
    match text {
        "" => Ok(None),
        text => parse_text(text).map(Some).map_err(Error::new),
    }
}

fn reads_answers(rule: &TraceRule) -> bool {
    rule.tags.iter().any(|tag| match &tag.value {
        TagValue::Format(format) => format_reads_answers(format),
        TagValue::Literal(_) | TagValue::Header(..) => false,
    })
}

pub fn tags(values: Vec<tracing::CustomTag>, cx: &mut Cx<'_>) -> Result<Box<[SpanTag]>> {
    let mut tags = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        tags.extend(tag(value, cx).nth("custom_tags", index)?);
    }
    Ok(tags.into())
}

/// `None` for one that never has a value.
fn tag(value: tracing::CustomTag, cx: &mut Cx<'_>) -> Result<Option<SpanTag>> {
    use tracing::custom_tag::{Environment, Header, Literal, Metadata, Type};
    let tracing::CustomTag { tag, r#type } = value;
    let given = |text: String| (!text.is_empty()).then(|| Box::<str>::from(text));
    let value = match r#type.ok_or_else(|| Error::new("has no value"))? {
        Type::Literal(Literal { value }) => Some(TagValue::Literal(value.into())),
        Type::Environment(Environment {
            name,
            default_value,
        }) => std::env::var(name)
            .ok()
            .or(Some(default_value))
            .and_then(given)
            .map(TagValue::Literal),
        Type::RequestHeader(Header {
            name,
            default_value,
        }) => Some(TagValue::Header(
            header_name(&name).at("request_header.name")?,
            given(default_value),
        )),
        Type::Metadata(Metadata {
            kind: _,
            metadata_key: _,
            default_value,
        }) => {
            cx.notice(
                "CustomTag.metadata",
                "filters leave no metadata: the default value is used",
            );
            given(default_value).map(TagValue::Literal)
        }
        Type::Value(text) => Some(TagValue::Format(
            parse_text(&text).map_err(Error::new).at("value")?,
        )),
    };
    Ok(value.map(|value| SpanTag {
        name: tag.into(),
        value,
    }))
}

/// `None` for a tracer that is not known: requests are marked and spans are not made.
fn of_provider(value: trace::tracing::Http, cx: &mut Cx<'_>) -> Result<Option<TraceProvider>> {
    let trace::tracing::Http { name, config_type } = value;
    harmless!(name);
    let typed = any::open(config_type.map(|config| match config {
        trace::tracing::http::ConfigType::TypedConfig(any) => any,
    }))
    .at("typed_config")?;
    let kind = typed.type_name();
    if kind == trace::OpenTelemetryConfig::full_name() {
        let config = typed.decode().and_then(|config| open_telemetry(config, cx));
        Ok(Some(config.at("typed_config")?))
    } else if kind == trace::ZipkinConfig::full_name() {
        let config = typed.decode().and_then(|config| zipkin(config, cx));
        Ok(Some(config.at("typed_config")?))
    } else {
        cx.notice(
            "HttpConnectionManager.tracing.provider",
            "only the tracers of OpenTelemetry and Zipkin are known: no spans are made",
        );
        Ok(None)
    }
}

fn open_telemetry(value: trace::OpenTelemetryConfig, cx: &mut Cx<'_>) -> Result<TraceProvider> {
    let trace::OpenTelemetryConfig {
        grpc_service,
        http_service,
        exporter,
        service_name,
        resource_detectors,
        sampler,
        max_cache_size,
        set_telemetry_sdk_resource_attributes,
        set_service_name_resource_attribute,
        set_instrumentation_scope,
    } = value;
    refuse!(exporter);
    left_out!(
        cx,
        "OpenTelemetryConfig",
        "there are no samplers: the connection manager's shares hold",
        sampler
    );
    let collector = match (grpc_service, http_service) {
        (Some(_), Some(_)) => {
            return Err(Error::new("excludes grpc_service").at_field("http_service"));
        }
        (Some(service), None) => Some(collector::grpc(service, EXPORT, cx).at("grpc_service")?),
        (None, Some(service)) => Some(collector::http(service, cx).at("http_service")?),
        (None, None) => None,
    };
    let mut resource = detected(resource_detectors, cx)?;
    if bool_or(set_telemetry_sdk_resource_attributes, true) {
        resource.extend(otlp::sdk());
    }
    if bool_or(set_service_name_resource_attribute, true) {
        let name = match service_name.is_empty() {
            true => "unknown_service:envoy".to_owned(),
            false => service_name,
        };
        resource.insert("service.name".to_owned(), name);
    }
    let content = Content::Otlp {
        signal: crate::model::Signal::Spans,
        resource: otlp::resource(&resource),
        scope: match bool_or(set_instrumentation_scope, true) {
            true => otlp::scope(),
            false => bytes::Bytes::new(),
        },
    };
    Ok(TraceProvider {
        tracer: Tracer::OpenTelemetry,
        feed: collector.map(|collector| {
            Arc::new(Feed {
                collector,
                content,
                batch_entries: BATCH_SPANS,
                batch_bytes: BATCH_BYTES,
                interval: INTERVAL,
                max_entries: u32_or(max_cache_size, MAX_SPANS),
            })
        }),
    })
}

/// Attributes of the resource by its detectors, the later over the earlier.
pub fn detected(
    values: Vec<core::TypedExtensionConfig>,
    cx: &mut Cx<'_>,
) -> Result<BTreeMap<String, String>> {
    let mut attributes = BTreeMap::new();
    for (index, value) in values.into_iter().enumerate() {
        let core::TypedExtensionConfig { name, typed_config } = value;
        harmless!(name);
        let typed = any::open(typed_config)
            .at("typed_config")
            .nth("resource_detectors", index)?;
        let kind = typed.type_name();
        if kind == detectors::EnvironmentResourceDetectorConfig::full_name() {
            let text = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
            let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
            attributes.extend(pairs.map(|(key, value)| (key.into(), value.into())));
        } else if kind == detectors::StaticConfigResourceDetectorConfig::full_name() {
            let detectors::StaticConfigResourceDetectorConfig { attributes: given } =
                typed.decode().nth("resource_detectors", index)?;
            attributes.extend(given);
        } else {
            cx.notice(
                "OpenTelemetryConfig.resource_detectors",
                "only the environment and static attributes are looked at",
            );
        }
    }
    Ok(attributes)
}

fn zipkin(value: trace::ZipkinConfig, cx: &mut Cx<'_>) -> Result<TraceProvider> {
    use trace::zipkin_config::{CollectorEndpointVersion, TraceContextOption};
    let version = value.collector_endpoint_version();
    let w3c = value.trace_context_option() == TraceContextOption::UseB3WithW3cPropagation;
    let trace::ZipkinConfig {
        collector_cluster,
        collector_endpoint,
        trace_id_128bit,
        shared_span_context,
        collector_endpoint_version: _,
        collector_hostname,
        split_spans_for_request,
        trace_context_option: _,
        collector_service,
        timestamp_trace_ids,
    } = value;
    refuse!(timestamp_trace_ids);
    // A name of old for `spawn_upstream_span`, which each connection manager says by itself.
    left_out!(
        cx,
        "ZipkinConfig",
        "use spawn_upstream_span of the connection manager",
        split_spans_for_request
    );
    let collector = match collector_service {
        Some(service) => collector::http(service, cx).at("collector_service")?,
        None => collector::plain(
            &collector_cluster,
            &collector_hostname,
            &collector_endpoint,
            ZIPKIN_TIMEOUT,
            cx,
        )
        .at("collector_cluster")?,
    };
    if version != CollectorEndpointVersion::HttpJson {
        return Err(Error::new("is not supported: use HTTP_JSON")).at("collector_endpoint_version");
    }
    Ok(TraceProvider {
        tracer: Tracer::Zipkin {
            wide: trace_id_128bit,
            shared: bool_or(shared_span_context, true),
            w3c,
        },
        feed: Some(Arc::new(Feed {
            collector,
            content: Content::Zipkin,
            batch_entries: BATCH_SPANS,
            batch_bytes: BATCH_BYTES,
            interval: INTERVAL,
            max_entries: MAX_SPANS,
        })),
    })
}
