//! An access log service: it remembers each entry as if it were a request, its fields as
//! headers.

use super::upstream::{Memory, Seen};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::data::accesslog::v3 as proto;
use envoy_types::pb::envoy::service::accesslog::v3::StreamAccessLogsMessage;
use envoy_types::pb::envoy::service::accesslog::v3::stream_access_logs_message::LogEntries;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Bytes before each message of gRPC.
const FRAME: usize = 5;

pub async fn serve(stream: TcpStream, memory: Arc<Memory>) -> io::Result<()> {
    let service = service_fn(move |request| receive(request, memory.clone()));
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

async fn receive(
    request: Request<Incoming>,
    memory: Arc<Memory>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let mut read = Vec::new();
    let mut name = String::new();
    while let Some(Ok(frame)) = body.frame().await {
        read.extend_from_slice(&frame.into_data().unwrap_or_default());
        while let Some(length) = read.get(1..FRAME) {
            let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            let Some(message) = read.get(FRAME..FRAME + length) else {
                break;
            };
            let message = StreamAccessLogsMessage::decode(message).expect("an entry");
            read.drain(..FRAME + length);
            if let Some(identifier) = &message.identifier {
                let node = identifier.node.as_ref().map_or("", |node| &node.id);
                name = format!("{path} {} of {node}", identifier.log_name);
            }
            for entry in entries(message) {
                memory.add(Seen {
                    upstream: "als",
                    method: "LOG".into(),
                    target: name.clone(),
                    headers: entry,
                    body: Vec::new(),
                });
            }
        }
    }
    Ok(Response::new(Empty::new()))
}

type Fields = Vec<(String, String)>;

fn entries(message: StreamAccessLogsMessage) -> Vec<Fields> {
    match message.log_entries {
        Some(LogEntries::HttpLogs(logs)) => logs.log_entry.into_iter().map(request).collect(),
        Some(LogEntries::TcpLogs(logs)) => logs.log_entry.into_iter().map(connection).collect(),
        None => Vec::new(),
    }
}

fn connection(entry: proto::TcpAccessLogEntry) -> Fields {
    let mut fields = common(entry.common_properties.unwrap_or_default());
    let bytes = entry.connection_properties.unwrap_or_default();
    put(&mut fields, "received", bytes.received_bytes);
    put(&mut fields, "sent", bytes.sent_bytes);
    fields
}

fn request(entry: proto::HttpAccessLogEntry) -> Fields {
    let mut fields = common(entry.common_properties.unwrap_or_default());
    put(&mut fields, "version", entry.protocol_version);
    let request = entry.request.unwrap_or_default();
    put(&mut fields, "method", request.request_method);
    put(&mut fields, "scheme", request.scheme);
    put(&mut fields, "authority", request.authority);
    put(&mut fields, "path", request.path);
    put(&mut fields, "user-agent", request.user_agent);
    put(&mut fields, "referer", request.referer);
    put(&mut fields, "forwarded-for", request.forwarded_for);
    put(&mut fields, "x-request-id", request.request_id);
    put(&mut fields, "original-path", request.original_path);
    put(&mut fields, "request-bytes", request.request_body_bytes);
    put(&mut fields, "head-bytes", request.request_headers_bytes);
    let response = entry.response.unwrap_or_default();
    let code = response.response_code.map(|code| code.value);
    put(&mut fields, "code", format!("{code:?}"));
    put(&mut fields, "response-bytes", response.response_body_bytes);
    put(&mut fields, "details", response.response_code_details);
    let maps = [
        ("request", request.request_headers),
        ("response", response.response_headers),
        ("trailer", response.response_trailers),
    ];
    for (kind, headers) in maps {
        for (name, value) in headers {
            put(&mut fields, &format!("{kind}-{name}"), value);
        }
    }
    fields
}

fn common(common: proto::AccessLogCommon) -> Fields {
    let mut fields = Fields::new();
    put(&mut fields, "type", common.access_log_type);
    put(&mut fields, "cluster", common.upstream_cluster);
    put(&mut fields, "route", common.route_name);
    put(&mut fields, "flags", format!("{:?}", common.response_flags));
    put(
        &mut fields,
        "failure",
        common.upstream_transport_failure_reason,
    );
    put(
        &mut fields,
        "attempts",
        common.upstream_request_attempt_count,
    );
    put(
        &mut fields,
        "termination",
        common.connection_termination_details,
    );
    put(&mut fields, "tls", common.tls_properties.is_some());
    for (name, address) in [
        ("remote", &common.downstream_remote_address),
        ("direct", &common.downstream_direct_remote_address),
        ("local", &common.downstream_local_address),
        ("upstream", &common.upstream_remote_address),
        ("upstream-local", &common.upstream_local_address),
    ] {
        put(&mut fields, name, host(address.as_ref()));
    }
    let times = [
        ("start", common.start_time.is_some()),
        ("duration", common.duration.is_some()),
        ("last-rx", common.time_to_last_rx_byte.is_some()),
        (
            "first-upstream-rx",
            common.time_to_first_upstream_rx_byte.is_some(),
        ),
        (
            "last-upstream-rx",
            common.time_to_last_upstream_rx_byte.is_some(),
        ),
    ];
    for (name, is_told) in times {
        put(&mut fields, &format!("time-{name}"), is_told);
    }
    for (name, value) in common.custom_tags {
        put(&mut fields, &format!("tag-{name}"), value);
    }
    fields
}

/// Without the port, which is never the same twice.
fn host(address: Option<&core::Address>) -> String {
    match address.and_then(|address| address.address.as_ref()) {
        Some(core::address::Address::SocketAddress(socket)) => socket.address.clone(),
        other => format!("{other:?}"),
    }
}

fn put(fields: &mut Fields, name: &str, value: impl ToString) {
    fields.push((name.to_owned(), value.to_string()));
}
