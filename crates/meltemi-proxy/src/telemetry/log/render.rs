//! Evaluation of a compiled format on one exchange.

use super::{certificate, json, service, time, values};
use crate::clock;
use crate::model::{Address, LogFormat, LogHeader, LogOperator, LogPart, Side};
use crate::telemetry::{Protocol, StreamInfo};
use crate::text::{number, socket};
use std::fmt::Write;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

/// Written for what is not known.
pub(super) const UNKNOWN: &str = "-";

/// A header's value: what is not known of the exchange is left out of it.
pub fn header_value(format: &LogFormat, info: &StreamInfo) -> String {
    let mut out = String::new();
    match format {
        LogFormat::Text(parts) => append_text(&mut out, parts, "", info),
        LogFormat::Json(..) => append(&mut out, format, info),
    }
    out.truncate(out.trim_ascii_end().len());
    out
}

/// Appends one line (a JSON format gets a line end).
pub fn append(out: &mut String, format: &LogFormat, info: &StreamInfo) {
    match format {
        LogFormat::Text(parts) => append_text(out, parts, UNKNOWN, info),
        LogFormat::Json(fields, omit_empty_quotes) => {
            json::append(out, fields, *omit_empty_quotes, info);
        }
    }
}

pub(super) fn append_text(out: &mut String, parts: &[LogPart], unknown: &str, info: &StreamInfo) {
    for part in parts {
        match part {
            LogPart::Text(text) => out.push_str(text),
            LogPart::Operator(operator, limit) => {
                if !write_limited(out, operator, *limit, info) {
                    out.push_str(unknown);
                }
            }
        }
    }
}

/// False when the value is not known: nothing was written.
pub(super) fn write_limited(
    out: &mut String,
    operator: &LogOperator,
    limit: Option<u32>,
    info: &StreamInfo,
) -> bool {
    let start = out.len();
    if !write(out, operator, info) {
        return false;
    }
    if let Some(limit) = limit {
        let mut end = start + limit as usize;
        if end < out.len() {
            while !out.is_char_boundary(end) {
                end -= 1;
            }
            out.truncate(end);
        }
    }
    true
}

/// False when the value is not known: nothing was written.
fn write(out: &mut String, operator: &LogOperator, info: &StreamInfo) -> bool {
    use LogOperator as Op;
    let connection = &info.connection;
    let cluster = info.cluster.as_ref();
    match operator {
        Op::StartTime(format) => time::write(out, format, info.started_at),
        Op::Req(name, other) => {
            return request_header(out, name, info)
                || other
                    .as_ref()
                    .is_some_and(|other| request_header(out, other, info));
        }
        Op::Resp(name, other) => {
            return response_header(out, name, info)
                || other
                    .as_ref()
                    .is_some_and(|other| response_header(out, other, info));
        }
        Op::Trailer(name, other) => {
            return trailer(out, name, info)
                || other
                    .as_ref()
                    .is_some_and(|other| trailer(out, other, info));
        }
        Op::Protocol if info.protocol != Protocol::Tcp => out.push_str(info.protocol.as_str()),
        Op::ResponseCode => number(out, info.status.into()),
        Op::ResponseCodeDetails { spaced } if !info.details.is_empty() => {
            return match spaced {
                true => text(out, Some(&info.details)),
                false => one_word(out, Some(&info.details)),
            };
        }
        Op::ConnectionTerminationDetails if !info.termination.is_empty() => {
            return text(out, Some(&info.termination));
        }
        Op::ResponseFlags => info.flags.write_short(out),
        Op::ResponseFlagsLong => info.flags.write_long(out),
        Op::TransportFailureReason(side) => {
            let reason = match side {
                Side::Upstream => info.upstream_failure.as_deref(),
                Side::Downstream => connection.transport_failure.as_deref(),
            };
            return one_word(out, reason);
        }
        Op::Retransmitted => number(out, 0),
        Op::BytesReceived => number(out, info.bytes_received),
        Op::BytesSent => number(out, info.bytes_sent),
        Op::Duration => return millis(out, info.started, Some(clock::now())),
        Op::RequestDuration => return millis(out, info.started, info.request_complete),
        Op::ResponseDuration => return millis(out, info.started, info.first_upstream_byte),
        Op::ResponseTxDuration => match info.first_upstream_byte {
            Some(first) => return millis(out, first, info.last_upstream_byte),
            None => return false,
        },
        Op::EmitTime(format) => time::write(out, format, SystemTime::now()),
        Op::Query(name) => return values::query(out, name.as_deref(), info),
        Op::Path(form) => return values::path(out, *form, info),
        Op::RequestHeadersBytes => number(out, service::request_bytes(info)),
        Op::ResponseHeadersBytes => number(out, service::bytes(&info.response_headers)),
        Op::TraceId => return values::trace(out, info, |context, out| context.write_trace_id(out)),
        Op::SpanId => return values::trace(out, info, |context, out| context.write_span_id(out)),
        Op::UniqueId => {
            let _ = write!(out, "{}", uuid::Uuid::new_v4());
        }
        Op::LogType => out.push_str(values::log_type(info)),
        Op::Between(from, to, unit) => return values::between(out, (*from, *to), *unit, info),
        Op::UpstreamProtocol => return text(out, info.upstream_protocol.map(|p| p.as_str())),
        Op::UpstreamHostName => {
            if !text(out, values::host_name(info)) {
                return write(out, &Op::UpstreamHost, info);
            }
        }
        Op::UpstreamHostNameWithoutPort => {
            let start = out.len();
            if !write(out, &Op::UpstreamHostName, info) {
                return false;
            }
            out.truncate(start + values::without_port(&out[start..]).len());
        }
        Op::Address(end, part) => return values::address(out, *end, *part, info),
        Op::UpstreamHost => match (&info.endpoint, info.upstream_remote) {
            (_, Some(address)) => socket(out, address),
            (Some(endpoint), None) => match &endpoint.address {
                Address::Socket(address) => socket(out, *address),
                Address::Pipe(path) => {
                    let _ = write!(out, "{}", path.display());
                }
            },
            (None, None) => return false,
        },
        Op::UpstreamCluster => {
            let name = cluster.map(|c| c.alt_stat_name.as_deref().unwrap_or(&c.name));
            return text(out, name);
        }
        Op::UpstreamClusterRaw => return text(out, cluster.map(|c| &*c.name)),
        Op::UpstreamRequestAttemptCount => number(out, info.attempts.into()),
        Op::Tls(side, part) => return certificate::write(out, *side, part, info),
        Op::RequestedServerName => return text(out, connection.facts.server_name.as_deref()),
        Op::RouteName => {
            let name = info.route.as_ref().map(|route| &*route.name);
            return text(out, name.filter(|name| !name.is_empty()));
        }
        Op::FilterChainName => {
            let name = Some(&*connection.filter_chain);
            return text(out, name.filter(|name| !name.is_empty()));
        }
        Op::ConnectionId => number(out, connection.id),
        Op::Hostname => out.push_str(hostname()),
        Op::GrpcStatus(form) => return values::grpc_status(out, *form, info),
        Op::Environment(value) => return text(out, Some(&**value).filter(|v| !v.is_empty())),
        _ => return false,
    }
    true
}

pub(super) fn text(out: &mut String, value: Option<&str>) -> bool {
    let Some(value) = value else { return false };
    clean(out, value.as_bytes());
    true
}

/// White space becomes `_`, as Envoy has it.
fn one_word(out: &mut String, value: Option<&str>) -> bool {
    let start = out.len();
    let written = text(out, value);
    if out[start..].contains(char::is_whitespace) {
        let word = out.split_off(start).replace(char::is_whitespace, "_");
        out.push_str(&word);
    }
    written
}

fn millis(out: &mut String, from: Instant, to: Option<Instant>) -> bool {
    let Some(to) = to else { return false };
    number(out, to.saturating_duration_since(from).as_millis() as u64);
    true
}

fn response_header(out: &mut String, name: &LogHeader, info: &StreamInfo) -> bool {
    match name {
        LogHeader::Status if info.status > 0 => number(out, info.status.into()),
        LogHeader::Named(name) => match info.response_headers.get(name) {
            Some(value) => clean(out, value.as_bytes()),
            None => return false,
        },
        _ => return false,
    }
    true
}

fn trailer(out: &mut String, name: &LogHeader, info: &StreamInfo) -> bool {
    let LogHeader::Named(name) = name else {
        return false;
    };
    let trailers = info.response_trailers.as_ref();
    let value = trailers.and_then(|trailers| trailers.get(name));
    text_of(out, value.map(http::HeaderValue::as_bytes))
}

fn text_of(out: &mut String, value: Option<&[u8]>) -> bool {
    if let Some(value) = value {
        clean(out, value);
    }
    value.is_some()
}

fn request_header(out: &mut String, name: &LogHeader, info: &StreamInfo) -> bool {
    let request = &info.request;
    let value = match name {
        LogHeader::Method => request
            .method
            .as_ref()
            .map(|method| method.as_str().as_bytes()),
        LogHeader::Authority => request.authority.as_deref().map(str::as_bytes),
        LogHeader::Path => request.path.as_deref().map(str::as_bytes),
        LogHeader::Scheme => Some(request.scheme.as_bytes()).filter(|scheme| !scheme.is_empty()),
        LogHeader::Named(name) => request.headers.get(name).map(http::HeaderValue::as_bytes),
        LogHeader::Status => None,
    };
    match value {
        Some(value) => {
            clean(out, value);
            true
        }
        None => false,
    }
}

/// Text of a peer without what would forge or garble a line: control characters are
/// written as `\xNN`, bytes that are not UTF-8 are replaced.
pub(super) fn clean(out: &mut String, value: &[u8]) {
    // All bytes, whatever the first ones are: so the compiler compares many at once.
    let printable = |all, byte: &u8| all & (b' '..=b'~').contains(byte);
    if value.iter().fold(true, printable)
        && let Ok(text) = std::str::from_utf8(value)
    {
        return out.push_str(text);
    }
    let text = String::from_utf8_lossy(value);
    let mut rest = &*text;
    while let Some(at) = rest.find(char::is_control) {
        out.push_str(&rest[..at]);
        let mut after = rest[at..].chars();
        if let Some(c) = after.next() {
            let _ = write!(out, "\\x{:02x}", c as u32);
        }
        rest = after.as_str();
    }
    out.push_str(rest);
}

fn hostname() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_else(|_| "-".to_owned())
    })
}
