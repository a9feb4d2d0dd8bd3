//! The end of a span: it is described and goes to its collector.

use super::tags::{self, Tags};
use super::{Span, Trace, operation, zipkin};
use crate::model::{HttpManager, LogFormat, Tracer, Tracing};
use crate::telemetry::outbox::Outbox;
use crate::telemetry::{StreamInfo, log, otlp};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const ERROR: i32 = 2;
/// Whether the parent is remote is known, and that it is (`SpanFlags`).
const PARENT_KNOWN: u32 = 0x100;
const PARENT_REMOTE: u32 = 0x200;
/// gRPC statuses for which the server is to blame (OpenTelemetry's semantic conventions).
const SERVER_FAULTS: [u32; 6] = [2, 4, 12, 13, 14, 15];

/// A span that is complete.
pub(super) struct Complete<'a> {
    pub span: &'a Span,
    pub name: String,
    pub tags: Tags<'a>,
    pub took: Duration,
    /// When bytes moved, and what happened.
    pub events: Vec<(SystemTime, &'static str)>,
    pub failed: bool,
}

/// The exchange has ended, and with it its last attempt.
pub fn finish(info: &StreamInfo, manager: &HttpManager) {
    let (Some(trace), Some(tracing)) = (&info.trace, &manager.tracing) else {
        return;
    };
    if !trace.span.context.sampled {
        return;
    }
    let outcome = match &*info.details {
        "via_upstream" => Ok(info.status),
        _ => Err("no answer"),
    };
    finish_attempt(info, outcome, manager);
    let rule = info
        .route
        .as_ref()
        .and_then(|route| route.tracing.as_deref());
    let name = named(info, operation(rule, &tracing.rule, |rule| &rule.operation));
    send(
        tracing,
        Complete {
            name: name.unwrap_or_else(|| request_name(trace, info, tracing)),
            tags: tags::of_request(info, tracing),
            took: info.started.elapsed(),
            events: if tracing.verbose {
                events(info)
            } else {
                Vec::new()
            },
            failed: failed(info, trace.span.server),
            span: &trace.span,
        },
    );
}

/// An attempt has ended, with a status or why it has none.
pub fn finish_attempt(
    info: &StreamInfo,
    outcome: Result<u16, &'static str>,
    manager: &HttpManager,
) {
    let (Some(trace), Some(tracing)) = (&info.trace, &manager.tracing) else {
        return;
    };
    let Some(attempt) = trace
        .attempt
        .as_ref()
        .filter(|_| trace.span.context.sampled)
    else {
        return;
    };
    let rule = info
        .route
        .as_ref()
        .and_then(|route| route.tracing.as_deref());
    let name = named(
        info,
        operation(rule, &tracing.rule, |rule| &rule.upstream_operation),
    );
    let cluster = info
        .cluster
        .as_ref()
        .map_or("", |cluster| cluster.stat_name());
    let took = SystemTime::now().duration_since(attempt.span.started);
    send(
        tracing,
        Complete {
            name: name.unwrap_or_else(|| format!("router {cluster} egress")),
            tags: tags::of_attempt(info, attempt.number, outcome, tracing),
            took: took.unwrap_or_default(),
            events: Vec::new(),
            failed: outcome.is_ok_and(|status| status >= 500),
            span: &attempt.span,
        },
    );
}

/// A mirrored request has ended, with a status or why it has none.
pub fn finish_mirror(info: &StreamInfo, outcome: Result<u16, &'static str>, manager: &HttpManager) {
    let (Some(trace), Some(tracing)) = (&info.trace, &manager.tracing) else {
        return;
    };
    if !trace.span.context.sampled {
        return;
    }
    send(
        tracing,
        Complete {
            name: "mirror".to_owned(),
            tags: tags::of_attempt(info, 1, outcome, tracing),
            took: info.started.elapsed(),
            events: Vec::new(),
            failed: outcome.is_ok_and(|status| status >= 500),
            span: &trace.span,
        },
    );
}

fn named(info: &StreamInfo, format: Option<&LogFormat>) -> Option<String> {
    format.map(|format| log::header_value(format, info))
}

/// By the other side of the connection, by the route, or by whom it is for.
fn request_name(trace: &Trace, info: &StreamInfo, tracing: &Tracing) -> String {
    if let Some(name) = &trace.span.name {
        return name.to_string();
    }
    let decorator = info
        .route
        .as_ref()
        .and_then(|route| route.decorator.as_ref());
    if let Some(Ok(name)) = decorator.map(|decorator| decorator.operation.to_str()) {
        return name.to_owned();
    }
    let host = info.request.authority.as_deref().unwrap_or_default();
    let egress = info.connection.direction == crate::model::Direction::Outbound;
    match tracing.provider.as_ref().map(|provider| provider.tracer) {
        Some(Tracer::Zipkin { .. }) => host.to_owned(),
        _ if egress => format!("egress {host}"),
        _ => "ingress".to_owned(),
    }
}

fn failed(info: &StreamInfo, server: bool) -> bool {
    let grpc = info.grpc_status.filter(|_| info.grpc);
    info.status == 0
        || info.status >= 500
        || grpc.is_some_and(|status| match server {
            true => SERVER_FAULTS.contains(&status),
            false => status != 0,
        })
}

/// Envoy's names; when bytes left for the upstream is not known.
fn events(info: &StreamInfo) -> Vec<(SystemTime, &'static str)> {
    let at = |moment: Instant| info.started_at + moment.duration_since(info.started);
    [
        (info.request_complete, "last_downstream_rx_byte_received"),
        (info.first_upstream_byte, "first_upstream_rx_byte_received"),
        (info.last_upstream_byte, "last_upstream_rx_byte_received"),
    ]
    .into_iter()
    .filter_map(|(moment, name)| Some((at(moment?), name)))
    .collect()
}

fn send(tracing: &Tracing, complete: Complete<'_>) {
    let Some(provider) = &tracing.provider else {
        return;
    };
    let Some(feed) = &provider.feed else {
        return;
    };
    Outbox::of(feed).push(|out| match provider.tracer {
        Tracer::OpenTelemetry => otlp::entry(&span(&complete), out),
        Tracer::Zipkin { .. } => zipkin::write(&complete, out),
    });
}

fn span(complete: &Complete<'_>) -> otlp::Span {
    let Complete { span, .. } = complete;
    let context = &span.context;
    let start = nanos(span.started);
    let parent = context.parent.map(|parent| parent.to_be_bytes().to_vec());
    let state = context.state.as_ref();
    let tags = complete.tags.0.iter();
    let events = complete.events.iter();
    otlp::Span {
        trace_id: context.trace.to_be_bytes().to_vec(),
        span_id: context.span.to_be_bytes().to_vec(),
        trace_state: state
            .map(|state| String::from_utf8_lossy(state.as_bytes()).into_owned())
            .unwrap_or_default(),
        parent_span_id: parent.unwrap_or_default(),
        name: complete.name.clone(),
        kind: if span.server { SERVER } else { CLIENT },
        start_time_unix_nano: start,
        end_time_unix_nano: start + complete.took.as_nanos() as u64,
        attributes: tags
            .map(|(name, value)| otlp::attribute(*name, &**value))
            .collect(),
        events: events
            .map(|(at, name)| otlp::Event {
                time_unix_nano: nanos(*at),
                name: (*name).to_owned(),
            })
            .collect(),
        status: complete.failed.then_some(otlp::Status { code: ERROR }),
        flags: u32::from(context.sampled)
            | PARENT_KNOWN
            | if span.remote_parent { PARENT_REMOTE } else { 0 },
    }
}

pub(in crate::telemetry) fn nanos(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}
