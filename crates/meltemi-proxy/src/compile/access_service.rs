//! Access loggers whose entries go to a service.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::{duration_or, u32_or};
use super::context::Cx;
use super::matching::header_name;
use super::pb::{core, loggers, wkt};
use super::presence::{left_out, refuse};
use super::{At, Error, Result, any, collector, tracing};
use crate::model::{
    Collector, Content, Feed, LogOutput, RecordLog, RecordValue, ServiceLog, Signal,
};
use crate::telemetry::{self, log, otlp};
use core::ApiVersion;
use http::HeaderName;
use loggers::grpc::v3 as grpc;
use loggers::open_telemetry::v3 as otel;
use otlp::any_value::Value;
use prost::Name;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Envoy's `buffer_flush_interval` and `buffer_size_bytes`.
const INTERVAL: Duration = Duration::from_secs(1);
const BUFFER: u32 = 16_384;
/// Entries that wait for a service that is slow, or away.
const MAX_ENTRIES: u32 = 16_384;
const STREAM: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";
const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// `None`: a logger of another kind.
pub fn compile(typed: &any::Typed, cx: &mut Cx<'_>) -> Option<Result<LogOutput>> {
    let name = typed.type_name();
    Some(if name == grpc::HttpGrpcAccessLogConfig::full_name() {
        typed.clone().decode().and_then(|config| http(config, cx))
    } else if name == grpc::TcpGrpcAccessLogConfig::full_name() {
        typed.clone().decode().and_then(|config| tcp(config, cx))
    } else if name == otel::OpenTelemetryAccessLogConfig::full_name() {
        typed
            .clone()
            .decode()
            .and_then(|config| records(config, cx))
    } else {
        return None;
    })
}

fn http(value: grpc::HttpGrpcAccessLogConfig, cx: &mut Cx<'_>) -> Result<LogOutput> {
    let grpc::HttpGrpcAccessLogConfig {
        common_config,
        additional_request_headers_to_log,
        additional_response_headers_to_log,
        additional_response_trailers_to_log,
    } = value;
    let mut log = service(common_config, false, cx)?;
    let names = |names: Vec<String>, field: &str| -> Result<Box<[HeaderName]>> {
        let names = names.iter().enumerate();
        names
            .map(|(index, name)| header_name(name).nth(field, index))
            .collect()
    };
    log.request_headers = names(
        additional_request_headers_to_log,
        "additional_request_headers_to_log",
    )?;
    log.response_headers = names(
        additional_response_headers_to_log,
        "additional_response_headers_to_log",
    )?;
    log.response_trailers = names(
        additional_response_trailers_to_log,
        "additional_response_trailers_to_log",
    )?;
    Ok(LogOutput::Service(Box::new(log)))
}

fn tcp(value: grpc::TcpGrpcAccessLogConfig, cx: &mut Cx<'_>) -> Result<LogOutput> {
    let grpc::TcpGrpcAccessLogConfig { common_config } = value;
    Ok(LogOutput::Service(Box::new(service(
        common_config,
        true,
        cx,
    )?)))
}

fn service(
    value: Option<grpc::CommonGrpcAccessLogConfig>,
    tcp: bool,
    cx: &mut Cx<'_>,
) -> Result<ServiceLog> {
    let common = common(value, STREAM, cx).at("common_config")?;
    let content = Content::AccessLog {
        name: common.name.into(),
        tcp,
    };
    Ok(ServiceLog {
        feed: feed(common.collector, content, common.interval, common.buffer),
        tcp,
        request_headers: Box::default(),
        response_headers: Box::default(),
        response_trailers: Box::default(),
        tags: common.tags,
    })
}

fn feed(collector: Collector, content: Content, interval: Duration, buffer: u32) -> Arc<Feed> {
    Arc::new(Feed {
        collector,
        content,
        batch_entries: MAX_ENTRIES,
        // 0 sends each entry by itself, as in Envoy.
        batch_bytes: buffer,
        interval,
        max_entries: MAX_ENTRIES,
    })
}

struct Common {
    name: String,
    collector: Collector,
    interval: Duration,
    buffer: u32,
    tags: Box<[crate::model::SpanTag]>,
}

fn common(
    value: Option<grpc::CommonGrpcAccessLogConfig>,
    path: &'static str,
    cx: &mut Cx<'_>,
) -> Result<Common> {
    let value = value.ok_or_else(|| Error::new("is required"))?;
    if value.transport_api_version() == ApiVersion::V2 {
        return Err(Error::new("V2 is not supported").at_field("transport_api_version"));
    }
    let grpc::CommonGrpcAccessLogConfig {
        log_name,
        grpc_service,
        transport_api_version: _,
        buffer_flush_interval,
        buffer_size_bytes,
        filter_state_objects_to_log,
        grpc_stream_retry_policy,
        custom_tags,
    } = value;
    left_out!(
        cx,
        "CommonGrpcAccessLogConfig",
        "there are no such objects",
        filter_state_objects_to_log
    );
    left_out!(
        cx,
        "CommonGrpcAccessLogConfig",
        "a stream that ends is opened again with the next entries",
        grpc_stream_retry_policy
    );
    let service = grpc_service.ok_or_else(|| Error::missing("grpc_service"))?;
    Ok(Common {
        name: log_name,
        collector: collector::grpc(service, path, cx).at("grpc_service")?,
        interval: interval(buffer_flush_interval)?,
        buffer: u32_or(buffer_size_bytes, BUFFER),
        tags: tracing::tags(custom_tags, cx)?,
    })
}

fn interval(value: Option<wkt::Duration>) -> Result<Duration> {
    duration_or(value, INTERVAL).at("buffer_flush_interval")
}

fn records(value: otel::OpenTelemetryAccessLogConfig, cx: &mut Cx<'_>) -> Result<LogOutput> {
    let otel::OpenTelemetryAccessLogConfig {
        common_config,
        http_service,
        grpc_service,
        disable_builtin_labels,
        resource_attributes,
        resource_detectors,
        body,
        attributes,
        stat_prefix,
        formatters,
        log_name,
        buffer_flush_interval,
        buffer_size_bytes,
        filter_state_objects_to_log,
        custom_tags,
    } = value;
    // Extra formatters add operators: an operator that is not known is refused by itself.
    super::harmless!(formatters);
    refuse!(stat_prefix);
    left_out!(
        cx,
        "OpenTelemetryAccessLogConfig",
        "there are no such objects",
        filter_state_objects_to_log
    );
    let own = match (grpc_service, http_service) {
        (Some(_), Some(_)) => {
            return Err(Error::new("excludes grpc_service").at_field("http_service"));
        }
        (Some(service), None) => Some(collector::grpc(service, EXPORT, cx).at("grpc_service")?),
        (None, Some(service)) => Some(collector::http(service, cx).at("http_service")?),
        (None, None) => None,
    };
    let common = match own {
        Some(collector) => Common {
            name: log_name,
            collector,
            interval: interval(buffer_flush_interval)?,
            buffer: u32_or(buffer_size_bytes, BUFFER),
            tags: tracing::tags(custom_tags, cx)?,
        },
        None => common(common_config, EXPORT, cx).at("common_config")?,
    };
    let mut resource = tracing::detected(resource_detectors, cx)?;
    if !disable_builtin_labels {
        resource.extend(labels(&common.name));
    }
    for (index, pair) in resource_attributes
        .unwrap_or_default()
        .values
        .into_iter()
        .enumerate()
    {
        match pair.value.and_then(|value| value.value) {
            Some(Value::StringValue(text)) => resource.insert(pair.key, text),
            _ => return Err(Error::new("is no text")).nth("resource_attributes", index),
        };
    }
    let content = Content::Otlp {
        signal: Signal::Logs,
        resource: otlp::resource(&resource),
        scope: bytes::Bytes::new(),
    };
    let attributes = attributes
        .unwrap_or_default()
        .values
        .into_iter()
        .enumerate();
    Ok(LogOutput::Records(Box::new(RecordLog {
        feed: feed(common.collector, content, common.interval, common.buffer),
        body: body.map(record_value).transpose().at("body")?,
        attributes: attributes
            .map(|(index, pair)| {
                let value = pair.value.unwrap_or_default();
                Ok((
                    pair.key.into(),
                    record_value(value).nth("attributes", index)?,
                ))
            })
            .collect::<Result<_>>()?,
        tags: common.tags,
    })))
}

/// What Envoy says of every record.
fn labels(log_name: &str) -> BTreeMap<String, String> {
    let node = telemetry::node();
    [
        ("log_name", log_name),
        ("zone_name", telemetry::zone()),
        ("cluster_name", &node.cluster),
        ("node_name", &node.id),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn record_value(value: otlp::AnyValue) -> Result<RecordValue> {
    Ok(match value.value {
        Some(Value::StringValue(text)) => {
            RecordValue::Format(log::parse_text(&text).map_err(Error::new)?)
        }
        Some(Value::ArrayValue(_) | Value::KvlistValue(_)) => {
            return Err(Error::new("is a list, which is not supported: use texts"));
        }
        value => RecordValue::Constant(otlp::AnyValue { value }),
    })
}

/// Loggers of Wasm modules, which there are none of.
pub fn is_module(typed: &any::Typed) -> bool {
    typed.type_name() == loggers::wasm::v3::WasmAccessLog::full_name()
}
