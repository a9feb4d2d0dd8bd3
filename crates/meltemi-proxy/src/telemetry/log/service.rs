//! Entries of Envoy's access log service (`envoy.data.accesslog.v3`).
#![allow(deprecated)] // Messages have deprecated fields.

use crate::model::{Address, ServiceLog};
use crate::telemetry::trace::tags;
use crate::telemetry::{Ending, Flags, Protocol, StreamInfo, TlsInfo};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::data::accesslog::v3 as proto;
use envoy_types::pb::google::protobuf::{Duration, Timestamp, UInt32Value};
use http::{HeaderMap, HeaderName};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Instant, UNIX_EPOCH};

/// Appends an entry as a field of `HTTPAccessLogEntries` or `TCPAccessLogEntries`.
pub(super) fn append(out: &mut Vec<u8>, log: &ServiceLog, info: &StreamInfo) {
    match log.tcp {
        true => prost::encoding::message::encode(1, &connection(log, info), out),
        false => prost::encoding::message::encode(1, &request(log, info), out),
    }
}

fn connection(log: &ServiceLog, info: &StreamInfo) -> proto::TcpAccessLogEntry {
    proto::TcpAccessLogEntry {
        common_properties: Some(common(log, info)),
        connection_properties: Some(proto::ConnectionProperties {
            received_bytes: info.bytes_received,
            sent_bytes: info.bytes_sent,
        }),
    }
}

fn request(log: &ServiceLog, info: &StreamInfo) -> proto::HttpAccessLogEntry {
    use proto::http_access_log_entry::HttpVersion;
    let version = match info.protocol {
        Protocol::Http10 => HttpVersion::Http10,
        Protocol::Http11 => HttpVersion::Http11,
        Protocol::Http2 => HttpVersion::Http2,
        Protocol::Tcp => HttpVersion::ProtocolUnspecified,
    };
    let request = &info.request;
    let header = |name: &str| text(&request.headers, name);
    let method = request.method.as_ref();
    let method = method.and_then(|m| core::RequestMethod::from_str_name(m.as_str()));
    proto::HttpAccessLogEntry {
        common_properties: Some(common(log, info)),
        protocol_version: version as i32,
        request: Some(proto::HttpRequestProperties {
            request_method: method.unwrap_or_default() as i32,
            scheme: request.scheme.to_owned(),
            authority: request.authority.as_deref().unwrap_or_default().to_owned(),
            path: request.path.as_deref().unwrap_or_default().to_owned(),
            user_agent: header("user-agent"),
            referer: header("referer"),
            forwarded_for: header("x-forwarded-for"),
            request_id: header("x-request-id"),
            original_path: header("x-envoy-original-path"),
            request_headers_bytes: request_bytes(info),
            request_body_bytes: info.bytes_received,
            request_headers: chosen(&request.headers, &log.request_headers),
            ..Default::default()
        }),
        response: Some(proto::HttpResponseProperties {
            response_code: (info.status > 0).then(|| UInt32Value {
                value: info.status.into(),
            }),
            response_headers_bytes: bytes(&info.response_headers),
            response_body_bytes: info.bytes_sent,
            response_headers: chosen(&info.response_headers, &log.response_headers),
            response_trailers: info
                .response_trailers
                .as_ref()
                .map(|trailers| chosen(trailers, &log.response_trailers))
                .unwrap_or_default(),
            response_code_details: info.details.clone().into_owned(),
            ..Default::default()
        }),
    }
}

fn common(log: &ServiceLog, info: &StreamInfo) -> proto::AccessLogCommon {
    let connection = &info.connection;
    let facts = &connection.facts;
    let since = |moment: Option<Instant>| {
        let took = moment?.saturating_duration_since(info.started);
        Some(duration(took))
    };
    let cluster = info.cluster.as_ref();
    let kind = match info.ending {
        Ending::Request => proto::AccessLogType::DownstreamEnd,
        Ending::Connection => proto::AccessLogType::TcpConnectionEnd,
        Ending::AtListener => proto::AccessLogType::NotSet,
    };
    let started = info
        .started_at
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let tls = connection.tls.as_ref();
    proto::AccessLogCommon {
        downstream_remote_address: Some(address(info.client)),
        downstream_direct_remote_address: Some(address(facts.peer)),
        downstream_local_address: Some(address(facts.destination)),
        tls_properties: tls.map(|tls| security(tls, facts.server_name.as_deref())),
        start_time: Some(Timestamp {
            seconds: started.as_secs() as i64,
            nanos: started.subsec_nanos() as i32,
        }),
        time_to_last_rx_byte: since(info.request_complete),
        time_to_first_upstream_rx_byte: since(info.first_upstream_byte),
        time_to_last_upstream_rx_byte: since(info.last_upstream_byte),
        duration: Some(duration(info.started.elapsed())),
        upstream_remote_address: upstream(info),
        upstream_local_address: info.upstream_local.map(address),
        upstream_cluster: cluster.map_or("", |cluster| cluster.stat_name()).to_owned(),
        response_flags: (!info.flags.is_empty()).then(|| flags(info.flags)),
        upstream_transport_failure_reason: owned(info.upstream_failure.as_deref()),
        downstream_transport_failure_reason: owned(info.connection.transport_failure.as_deref()),
        route_name: owned(info.route.as_ref().map(|route| &*route.name)),
        upstream_request_attempt_count: info.attempts,
        connection_termination_details: info.termination.clone().into_owned(),
        custom_tags: tags::values(&log.tags, info)
            .map(|(name, value)| (name.to_owned(), value.into_owned()))
            .collect(),
        access_log_type: kind as i32,
        ..Default::default()
    }
}

fn owned(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

/// All lines as one, as Envoy joins them; `None` where there is none.
pub(crate) fn joined<'h>(headers: &'h HeaderMap, name: &str) -> Option<Cow<'h, str>> {
    let mut lines = headers.get_all(name).iter();
    let mut all = String::from_utf8_lossy(lines.next()?.as_bytes());
    for line in lines {
        let all = all.to_mut();
        all.push(',');
        all.push_str(&String::from_utf8_lossy(line.as_bytes()));
    }
    Some(all)
}

fn text(headers: &HeaderMap, name: &str) -> String {
    joined(headers, name).unwrap_or_default().into_owned()
}

fn chosen(headers: &HeaderMap, names: &[HeaderName]) -> HashMap<String, String> {
    let present = names.iter().filter(|name| headers.contains_key(*name));
    present
        .map(|name| (name.to_string(), text(headers, name.as_str())))
        .collect()
}

pub(crate) fn bytes(headers: &HeaderMap) -> u64 {
    let lines = headers.iter();
    lines
        .map(|(name, value)| (name.as_str().len() + value.len()) as u64)
        .sum()
}

/// As HTTP/2 counts: with what HTTP/1 says in its first line.
pub(crate) fn request_bytes(info: &StreamInfo) -> u64 {
    let request = &info.request;
    let part = |name: &str, value: Option<&str>| value.map_or(0, |value| name.len() + value.len());
    let pseudo = part(":method", request.method.as_ref().map(http::Method::as_str))
        + part(":authority", request.authority.as_deref())
        + part(":path", request.path.as_deref())
        + part(
            ":scheme",
            Some(request.scheme).filter(|scheme| !scheme.is_empty()),
        );
    bytes(&request.headers) + pseudo as u64
}

fn duration(value: std::time::Duration) -> Duration {
    Duration {
        seconds: value.as_secs() as i64,
        nanos: value.subsec_nanos() as i32,
    }
}

fn address(value: SocketAddr) -> core::Address {
    use core::socket_address::PortSpecifier;
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: value.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(value.port().into())),
            ..Default::default()
        })),
    }
}

fn upstream(info: &StreamInfo) -> Option<core::Address> {
    if let Some(remote) = info.upstream_remote {
        return Some(address(remote));
    }
    Some(match &info.endpoint.as_ref()?.address {
        Address::Socket(socket) => address(*socket),
        Address::Pipe(path) => core::Address {
            address: Some(core::address::Address::Pipe(core::Pipe {
                path: path.display().to_string(),
                ..Default::default()
            })),
        },
    })
}

fn security(tls: &TlsInfo, server_name: Option<&str>) -> proto::TlsProperties {
    use proto::tls_properties::certificate_properties::SubjectAltName;
    use proto::tls_properties::certificate_properties::subject_alt_name::San;
    use proto::tls_properties::{CertificateProperties, TlsVersion};
    let names = |uri: &Option<std::sync::Arc<str>>, dns: &[std::sync::Arc<str>]| {
        let uri = uri.iter().map(|uri| San::Uri(uri.to_string()));
        let dns = dns.iter().map(|dns| San::Dns(dns.to_string()));
        let all = uri.chain(dns).map(|san| SubjectAltName { san: Some(san) });
        all.collect::<Vec<_>>()
    };
    proto::TlsProperties {
        tls_version: match tls.version {
            "TLSv1.2" => TlsVersion::TlSv12,
            "TLSv1.3" => TlsVersion::TlSv13,
            _ => TlsVersion::VersionUnspecified,
        } as i32,
        tls_cipher_suite: crate::tls::suite_number(tls.cipher).map(|value| UInt32Value {
            value: value.into(),
        }),
        tls_sni_hostname: owned(server_name),
        local_certificate_properties: Some(CertificateProperties {
            subject_alt_name: names(&tls.local_uri, &[]),
            ..Default::default()
        }),
        peer_certificate_properties: Some(CertificateProperties {
            subject_alt_name: names(&tls.peer_uri, &tls.peer_dns),
            subject: owned(tls.peer_subject.as_deref()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn flags(flags: Flags) -> proto::ResponseFlags {
    use proto::response_flags::{Unauthorized, unauthorized};
    let has = |flag| flags.contains(flag);
    proto::ResponseFlags {
        failed_local_healthcheck: has(Flags::FAILED_LOCAL_HEALTH_CHECK),
        no_healthy_upstream: has(Flags::NO_HEALTHY_UPSTREAM),
        upstream_request_timeout: has(Flags::UPSTREAM_REQUEST_TIMEOUT),
        local_reset: has(Flags::LOCAL_RESET),
        upstream_remote_reset: has(Flags::UPSTREAM_REMOTE_RESET),
        upstream_connection_failure: has(Flags::UPSTREAM_CONNECTION_FAILURE),
        upstream_connection_termination: has(Flags::UPSTREAM_CONNECTION_TERMINATION),
        upstream_overflow: has(Flags::UPSTREAM_OVERFLOW),
        no_route_found: has(Flags::NO_ROUTE_FOUND),
        delay_injected: has(Flags::DELAY_INJECTED),
        fault_injected: has(Flags::FAULT_INJECTED),
        rate_limited: has(Flags::RATE_LIMITED),
        unauthorized_details: has(Flags::UNAUTHORIZED_EXTERNAL_SERVICE).then_some(Unauthorized {
            reason: unauthorized::Reason::ExternalService as i32,
        }),
        downstream_connection_termination: has(Flags::DOWNSTREAM_CONNECTION_TERMINATION),
        upstream_retry_limit_exceeded: has(Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED),
        stream_idle_timeout: has(Flags::STREAM_IDLE_TIMEOUT),
        downstream_protocol_error: has(Flags::DOWNSTREAM_PROTOCOL_ERROR),
        upstream_max_stream_duration_reached: has(Flags::UPSTREAM_MAX_STREAM_DURATION_REACHED),
        duration_timeout: has(Flags::DURATION_TIMEOUT),
        upstream_protocol_error: has(Flags::UPSTREAM_PROTOCOL_ERROR),
        no_cluster_found: has(Flags::NO_CLUSTER_FOUND),
        overload_manager: has(Flags::OVERLOAD_MANAGER),
        dns_resolution_failure: has(Flags::DNS_RESOLUTION_FAILED),
        ..Default::default()
    }
}
