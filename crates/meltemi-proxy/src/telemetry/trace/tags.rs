//! What a span tells of a request, as Envoy's tracing has it.

use crate::model::{SpanTag, TagValue, TraceRule, Tracing};
use crate::telemetry::{StreamInfo, log, node};
use std::borrow::Cow;
use std::net::SocketAddr;

/// Tags in order, each name once.
#[derive(Default)]
pub(super) struct Tags<'a>(pub Vec<(&'a str, Cow<'a, str>)>);

impl<'a> Tags<'a> {
    fn set(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }
}

/// Of the request as a whole.
pub(super) fn of_request<'a>(info: &'a StreamInfo, tracing: &'a Tracing) -> Tags<'a> {
    let mut tags = Tags::default();
    let request = &info.request;
    tags.set("node_id", &*node::node().id);
    tags.set("zone", node::zone());
    if let Some(id) = header(info, "x-request-id") {
        tags.set("guid:x-request-id", id);
    }
    tags.set("http.url", url(info, tracing.max_path));
    if let Some(method) = &request.method {
        tags.set("http.method", method.as_str());
    }
    let or_dash = |name| header(info, name).unwrap_or("-".into());
    tags.set(
        "downstream_cluster",
        or_dash("x-envoy-downstream-service-cluster"),
    );
    tags.set("user_agent", or_dash("user-agent"));
    tags.set("http.protocol", info.protocol.as_str());
    let peer = info.connection.facts.peer.ip();
    tags.set("peer.address", peer.to_string());
    if let Some(id) = header(info, "x-client-trace-id") {
        tags.set("guid:x-client-trace-id", id);
    }
    if info.grpc {
        tags.set("grpc.path", request.path.as_deref().unwrap_or_default());
        let authority = request.authority.as_deref();
        tags.set("grpc.authority", authority.unwrap_or_default());
        tags.set("grpc.content_type", or_dash("content-type"));
        if let Some(timeout) = header(info, "grpc-timeout") {
            tags.set("grpc.timeout", timeout);
        }
    }
    tags.set("request_size", info.bytes_received.to_string());
    tags.set("response_size", info.bytes_sent.to_string());
    answered(&mut tags, info, info.status);
    if info.status == 0 || info.status >= 500 {
        tags.set("error", "true");
    }
    custom(&mut tags, info, tracing);
    tags
}

/// Of one try on an upstream, by its number from 1.
pub(super) fn of_attempt<'a>(
    info: &'a StreamInfo,
    number: u32,
    outcome: Result<u16, &'static str>,
    tracing: &'a Tracing,
) -> Tags<'a> {
    let mut tags = Tags::default();
    if number > 1 {
        tags.set("retry.count", (number - 1).to_string());
    }
    if let Err(failure) = outcome {
        tags.set("error", "true");
        tags.set("error.reason", failure);
    }
    let protocol = info
        .upstream_protocol
        .map_or("-", |protocol| protocol.as_str());
    tags.set("http.protocol", protocol);
    if let Some(address) = upstream(info) {
        tags.set("upstream_address", address.to_string());
        tags.set("peer.address", address.to_string());
    }
    answered(&mut tags, info, outcome.unwrap_or(0));
    if outcome.is_ok_and(|status| status >= 500) {
        tags.set("error", "true");
    }
    custom(&mut tags, info, tracing);
    tags
}

fn answered<'a>(tags: &mut Tags<'a>, info: &'a StreamInfo, status: u16) {
    tags.set("component", "proxy");
    if let Some(cluster) = &info.cluster {
        tags.set("upstream_cluster", &*cluster.name);
        tags.set("upstream_cluster.name", cluster.stat_name());
    }
    tags.set("http.status_code", status.to_string());
    let mut flags = String::new();
    info.flags.write_short(&mut flags);
    tags.set("response_flags", flags);
    if let Some(status) = info.grpc_status.filter(|_| info.grpc) {
        tags.set("grpc.status_code", status.to_string());
    }
}

fn custom<'a>(tags: &mut Tags<'a>, info: &'a StreamInfo, tracing: &'a Tracing) {
    let route = info
        .route
        .as_ref()
        .and_then(|route| route.tracing.as_deref());
    let route = route.map_or(&[][..], |rule: &TraceRule| &rule.tags);
    for (name, value) in values(&tracing.rule.tags, info).chain(values(route, info)) {
        tags.set(name, value);
    }
}

/// Configured tags that have a value.
pub fn values<'a>(
    tags: &'a [SpanTag],
    info: &'a StreamInfo,
) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
    tags.iter().filter_map(|tag| {
        let value = match &tag.value {
            TagValue::Literal(text) => Cow::Borrowed(&**text),
            TagValue::Header(name, otherwise) => {
                let otherwise = || otherwise.as_deref().map(Cow::Borrowed);
                header(info, name.as_str()).or_else(otherwise)?
            }
            TagValue::Format(format) => log::header_value(format, info).into(),
        };
        Some((&*tag.name, value))
    })
}

fn header<'a>(info: &'a StreamInfo, name: &str) -> Option<Cow<'a, str>> {
    let value = info.request.headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()))
}

/// The URL that the client asked for, its path cut.
fn url(info: &StreamInfo, max_path: u32) -> String {
    let request = &info.request;
    let original = header(info, "x-envoy-original-path");
    let path = original.as_deref().or(request.path.as_deref());
    let mut path = path.unwrap_or_default();
    let mut end = path.len().min(max_path as usize);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path = &path[..end];
    let authority = request.authority.as_deref().unwrap_or_default();
    format!("{}://{authority}{path}", request.scheme)
}

fn upstream(info: &StreamInfo) -> Option<SocketAddr> {
    let endpoint = || match &info.endpoint.as_ref()?.address {
        crate::model::Address::Socket(address) => Some(*address),
        crate::model::Address::Pipe(_) => None,
    };
    info.upstream_remote.or_else(endpoint)
}
