//! Spans as Zipkin's API takes them (v2, JSON).

use super::finish::{Complete, nanos};
use super::hex;
use crate::telemetry::node;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::SystemTime;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    trace_id: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    name: &'a str,
    kind: &'static str,
    /// Microseconds since the epoch, and for how many.
    timestamp: u64,
    duration: u64,
    local_endpoint: Endpoint<'a>,
    annotations: Vec<Annotation>,
    tags: BTreeMap<&'a str, &'a Cow<'a, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shared: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    service_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<Ipv4Addr>,
}

#[derive(Serialize)]
struct Annotation {
    timestamp: u64,
    value: &'static str,
}

/// Appends a span; spans that follow each other are separated by commas.
pub(super) fn write(complete: &Complete<'_>, out: &mut Vec<u8>) {
    let span = complete.span;
    let context = &span.context;
    let node = node::node();
    let end = span.started + complete.took;
    // The client has received, or the server sent.
    let last = [(end, if span.server { "ss" } else { "cr" })];
    let events = complete.events.iter().chain(&last);
    let message = Span {
        trace_id: id(context.trace, context.trace_digits()),
        id: id(context.span.into(), 16),
        parent_id: context.parent.map(|parent| id(parent.into(), 16)),
        name: &complete.name,
        kind: if span.server { "SERVER" } else { "CLIENT" },
        timestamp: micros(span.started),
        duration: complete.took.as_micros() as u64,
        local_endpoint: Endpoint {
            service_name: &node.cluster,
            ipv4: own_address(&node.id),
        },
        annotations: events
            .map(|(at, value)| Annotation {
                timestamp: micros(*at),
                value,
            })
            .collect(),
        tags: complete
            .tags
            .0
            .iter()
            .map(|(name, value)| (*name, value))
            .collect(),
        shared: span.shared,
    };
    if !out.is_empty() {
        out.push(b',');
    }
    if let Err(error) = serde_json::to_writer(out, &message) {
        tracing::debug!(%error, "a span has no JSON");
    }
}

fn id(number: u128, digits: u32) -> String {
    let mut text = Vec::with_capacity(digits as usize);
    hex::push(&mut text, number, digits);
    String::from_utf8(text).unwrap_or_default()
}

fn micros(at: SystemTime) -> u64 {
    nanos(at) / 1000
}

/// Istio's nodes say their address: `sidecar~ADDRESS~...`.
fn own_address(node_id: &str) -> Option<Ipv4Addr> {
    node_id.split('~').nth(1)?.parse().ok()
}
