//! Access logs as MeshConfig and Telemetries ask for them.

use envoy_types::pb::envoy::extensions::access_loggers::file::v3 as file_log;
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use envoy_types::pb::envoy::extensions::access_loggers::grpc::v3 as grpc_log;
use envoy_types::pb::envoy::extensions::access_loggers::open_telemetry::v3 as otel_log;
use envoy_types::pb::opentelemetry::proto::common::v1 as otlp;
use meltemi_api::mesh::{AccessLogEncoding, ExtensionProvider, MeshConfig};
use meltemi_api::telemetry::LogFilter;

use super::collector::Collector;
use crate::pb::{self, accesslog, core, structs};
use crate::proxy::Proxy;
use crate::world::scope::Scope;
use crate::world::telemetry::{self, Mode};
use accesslog::access_log_filter::FilterSpecifier as Specifier;
use core::substitution_format_string::Format;

/// Istio's names of logs that have none.
const HTTP_LOG: &str = "http_envoy_accesslog";
const TCP_LOG: &str = "tcp_envoy_accesslog";
const OTEL_LOG: &str = "otel_envoy_accesslog";

/// Istio's text format.
const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// Istio's JSON format.
const JSON: [(&str, &str); 22] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    (
        "connection_termination_details",
        "%CONNECTION_TERMINATION_DETAILS%",
    ),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    (
        "upstream_service_time",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    ),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
];

/// The logs of requests or connections, where a proxy is on that side of them.
pub fn all(scope: &Scope<'_>, proxy: &Proxy, mode: Mode) -> Vec<accesslog::AccessLog> {
    let mesh = &scope.world.mesh.config;
    let telemetries = &scope.world.telemetries;
    let Some(logs) = telemetries.access_logs(mesh, &proxy.namespace, &proxy.labels, mode) else {
        return of_mesh(mesh).into_iter().collect();
    };
    let one = |(name, filter): (&str, Option<&LogFilter>)| {
        let provider = telemetry::find(mesh, name)?;
        let mut log = of_provider(scope, &provider)?;
        log.filter = filter.map(expression);
        Some(log)
    };
    logs.into_iter().filter_map(one).collect()
}

/// The listener's own logs, of connections that no filter chain took.
pub fn listener(scope: &Scope<'_>, proxy: &Proxy, mode: Mode) -> Vec<accesslog::AccessLog> {
    if scope.world.mesh.config.disable_envoy_listener_log {
        return Vec::new();
    }
    let mut logs = all(scope, proxy, mode);
    for log in &mut logs {
        let flags = accesslog::ResponseFlagFilter {
            flags: vec!["NR".to_owned()],
        };
        let no_route = Specifier::ResponseFlagFilter(flags);
        log.filter = Some(accesslog::AccessLogFilter {
            filter_specifier: Some(match log.filter.take() {
                None => no_route,
                Some(other) => Specifier::AndFilter(accesslog::AndFilter {
                    filters: vec![
                        other,
                        accesslog::AccessLogFilter {
                            filter_specifier: Some(no_route),
                        },
                    ],
                }),
            }),
        });
    }
    logs
}

fn expression(filter: &LogFilter) -> accesslog::AccessLogFilter {
    let config = ExpressionFilter {
        expression: filter.expression.clone(),
        ..Default::default()
    };
    let extension = accesslog::ExtensionFilter {
        name: "envoy.access_loggers.extension_filters.cel".to_owned(),
        config_type: Some(accesslog::extension_filter::ConfigType::TypedConfig(
            pb::any(&config),
        )),
    };
    accesslog::AccessLogFilter {
        filter_specifier: Some(Specifier::ExtensionFilter(extension)),
    }
}

/// `None` where MeshConfig names no file.
fn of_mesh(mesh: &MeshConfig) -> Option<accesslog::AccessLog> {
    let path = mesh.access_log_file.as_str();
    (!path.is_empty()).then(|| file(path, mesh_format(mesh), false))
}

/// `None` for a provider that is not one of access logs, or whose service the proxy does not see.
fn of_provider(scope: &Scope<'_>, provider: &ExtensionProvider) -> Option<accesslog::AccessLog> {
    let mesh = &scope.world.mesh.config;
    if let Some(log) = &provider.envoy_file_access_log {
        let path = match log.path.as_str() {
            "" => "/dev/stdout",
            path => path,
        };
        let given = log.log_format.as_ref();
        let format = match given {
            None if !log.omit_empty_values => mesh_format(mesh),
            _ => match given.and_then(|format| format.labels.as_ref()) {
                Some(labels) => Format::JsonFormat(fields(labels.as_object())),
                None => text(given.and_then(|format| format.text.as_deref())),
            },
        };
        return Some(file(path, format, log.omit_empty_values));
    }
    if let Some(log) = &provider.envoy_http_als {
        let to = Collector::find(scope, &log.service, log.port)?;
        let states = &log.filter_state_objects_to_log;
        let config = grpc_log::HttpGrpcAccessLogConfig {
            common_config: Some(common(&to, &log.log_name, HTTP_LOG, states)),
            additional_request_headers_to_log: log.additional_request_headers_to_log.clone(),
            additional_response_headers_to_log: log.additional_response_headers_to_log.clone(),
            additional_response_trailers_to_log: log.additional_response_trailers_to_log.clone(),
        };
        return Some(logger("envoy.access_loggers.http_grpc", pb::any(&config)));
    }
    if let Some(log) = &provider.envoy_tcp_als {
        let to = Collector::find(scope, &log.service, log.port)?;
        let states = &log.filter_state_objects_to_log;
        let config = grpc_log::TcpGrpcAccessLogConfig {
            common_config: Some(common(&to, &log.log_name, TCP_LOG, states)),
        };
        return Some(logger("envoy.access_loggers.tcp_grpc", pb::any(&config)));
    }
    let log = provider.envoy_otel_als.as_ref()?;
    let to = Collector::find(scope, &log.service, log.port)?;
    let format = log.log_format.as_ref();
    let body = format.map(|format| format.text.as_str());
    let body = body.filter(|text| !text.is_empty()).unwrap_or(TEXT);
    let labels = format.and_then(|format| format.labels.as_ref()?.as_object());
    let labels = labels.into_iter().flatten();
    let states = &log.filter_state_objects_to_log;
    #[allow(
        deprecated,
        reason = "istiod writes these fields, and every Envoy knows them"
    )]
    let config = otel_log::OpenTelemetryAccessLogConfig {
        common_config: Some(common(&to, &log.log_name, OTEL_LOG, states)),
        body: Some(otel_text(body)),
        attributes: Some(otlp::KeyValueList {
            values: labels
                .map(|(key, value)| otlp::KeyValue {
                    key: key.clone(),
                    value: Some(otel_text(&plain(value))),
                    ..Default::default()
                })
                .collect(),
        }),
        disable_builtin_labels: true,
        ..Default::default()
    };
    Some(logger(
        "envoy.access_loggers.open_telemetry",
        pb::any(&config),
    ))
}

fn common(
    to: &Collector,
    name: &str,
    default: &str,
    states: &[String],
) -> grpc_log::CommonGrpcAccessLogConfig {
    let name = if name.is_empty() { default } else { name };
    let own = || vec!["upstream_peer".to_owned(), "downstream_peer".to_owned()];
    grpc_log::CommonGrpcAccessLogConfig {
        log_name: name.to_owned(),
        grpc_service: Some(to.grpc(None, &[])),
        transport_api_version: core::ApiVersion::V3 as i32,
        filter_state_objects_to_log: match states.is_empty() {
            true => own(),
            false => states.to_vec(),
        },
        ..Default::default()
    }
}

fn otel_text(text: &str) -> otlp::AnyValue {
    otlp::AnyValue {
        value: Some(otlp::any_value::Value::StringValue(text.to_owned())),
    }
}

fn logger(name: &str, config: pb::Any) -> accesslog::AccessLog {
    accesslog::AccessLog {
        name: name.to_owned(),
        filter: None,
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(config)),
    }
}

fn file(path: &str, format: Format, omit_empty_values: bool) -> accesslog::AccessLog {
    let log = file_log::FileAccessLog {
        path: path.to_owned(),
        access_log_format: Some(file_log::file_access_log::AccessLogFormat::LogFormat(
            core::SubstitutionFormatString {
                format: Some(format),
                omit_empty_values,
                ..Default::default()
            },
        )),
    };
    logger("envoy.access_loggers.file", pb::any(&log))
}

fn mesh_format(mesh: &MeshConfig) -> Format {
    let given = Some(mesh.access_log_format.as_str());
    match mesh.access_log_encoding {
        AccessLogEncoding::Text => text(given),
        AccessLogEncoding::Json => Format::JsonFormat(json(&mesh.access_log_format)),
    }
}

/// A text format, one line an entry; Istio's where there is none.
fn text(given: Option<&str>) -> Format {
    let given = given.filter(|text| !text.is_empty());
    let mut text = given.unwrap_or(TEXT).to_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Format::TextFormatSource(core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineString(text)),
        ..Default::default()
    })
}

/// The user's JSON object of field to format; Istio's default where it is not one.
fn json(format: &str) -> pb::Struct {
    let object: Option<serde_json::Map<_, _>> = serde_json::from_str(format).ok();
    fields(object.as_ref())
}

fn fields(object: Option<&serde_json::Map<String, serde_json::Value>>) -> pb::Struct {
    match object.filter(|object| !object.is_empty()) {
        Some(object) => pb::Struct {
            fields: object
                .iter()
                .map(|(name, value)| (name.clone(), structs::string(plain(value))))
                .collect(),
        },
        None => structs::structure(JSON.map(|(name, format)| (name, structs::string(format)))),
    }
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
