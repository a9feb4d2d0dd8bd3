//! Access logs as MeshConfig asks for them.

use envoy_types::pb::envoy::extensions::access_loggers::file::v3 as file_log;
use meltemi_api::mesh::{AccessLogEncoding, MeshConfig};

use crate::pb::{self, accesslog, core, structs};

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

/// The log of requests and connections; none when MeshConfig names no file.
pub fn all(mesh: &MeshConfig) -> Vec<accesslog::AccessLog> {
    file(mesh, None).into_iter().collect()
}

/// The listener's own log, of connections that no filter chain took.
pub fn listener(mesh: &MeshConfig) -> Vec<accesslog::AccessLog> {
    if mesh.disable_envoy_listener_log {
        return Vec::new();
    }
    let flags = accesslog::ResponseFlagFilter {
        flags: vec!["NR".to_owned()],
    };
    let filter = accesslog::AccessLogFilter {
        filter_specifier: Some(
            accesslog::access_log_filter::FilterSpecifier::ResponseFlagFilter(flags),
        ),
    };
    file(mesh, Some(filter)).into_iter().collect()
}

fn file(
    mesh: &MeshConfig,
    filter: Option<accesslog::AccessLogFilter>,
) -> Option<accesslog::AccessLog> {
    if mesh.access_log_file.is_empty() {
        return None;
    }
    let format = match mesh.access_log_encoding {
        AccessLogEncoding::Text => {
            let mut text = if mesh.access_log_format.is_empty() {
                TEXT.to_owned()
            } else {
                mesh.access_log_format.clone()
            };
            if !text.ends_with('\n') {
                text.push('\n');
            }
            core::substitution_format_string::Format::TextFormatSource(core::DataSource {
                specifier: Some(core::data_source::Specifier::InlineString(text)),
                ..Default::default()
            })
        }
        AccessLogEncoding::Json => {
            core::substitution_format_string::Format::JsonFormat(json(&mesh.access_log_format))
        }
    };
    let log = file_log::FileAccessLog {
        path: mesh.access_log_file.clone(),
        access_log_format: Some(file_log::file_access_log::AccessLogFormat::LogFormat(
            core::SubstitutionFormatString {
                format: Some(format),
                ..Default::default()
            },
        )),
    };
    Some(accesslog::AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        filter,
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(pb::any(
            &log,
        ))),
    })
}

/// The user's JSON object of field to format; Istio's default where it is not one.
fn json(format: &str) -> pb::Struct {
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(format) {
        Ok(fields) if !fields.is_empty() => pb::Struct {
            fields: fields
                .into_iter()
                .map(|(name, value)| {
                    let text = match value {
                        serde_json::Value::String(text) => text,
                        other => other.to_string(),
                    };
                    (name, structs::string(text))
                })
                .collect(),
        },
        _ => structs::structure(JSON.map(|(name, format)| (name, structs::string(format)))),
    }
}
