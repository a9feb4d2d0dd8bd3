//! Messages of OTLP, the OpenTelemetry protocol, as far as they are sent
//! (`opentelemetry.proto.{trace,logs}.v1`).

use bytes::Bytes;
pub use envoy_types::pb::opentelemetry::proto::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value,
};
use prost::Message;
use std::collections::BTreeMap;

/// Who makes the telemetry.
const NAME: &str = "meltemi";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `opentelemetry.proto.trace.v1.Span`.
#[derive(Clone, PartialEq, Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
    /// 2: server, 3: client.
    #[prost(int32, tag = "6")]
    pub kind: i32,
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub flags: u32,
}

/// `opentelemetry.proto.trace.v1.Span.Event`.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    #[prost(string, tag = "2")]
    pub name: String,
}

/// `opentelemetry.proto.trace.v1.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// 2: error.
    #[prost(int32, tag = "3")]
    pub code: i32,
}

/// `opentelemetry.proto.logs.v1.LogRecord`.
#[derive(Clone, PartialEq, Message)]
pub struct LogRecord {
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    #[prost(bytes = "vec", tag = "9")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub span_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

pub fn attribute(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(text(value)),
        ..KeyValue::default()
    }
}

pub fn text(value: impl Into<String>) -> AnyValue {
    AnyValue {
        value: Some(any_value::Value::StringValue(value.into())),
    }
}

/// Attributes of what makes the telemetry (OpenTelemetry's semantic conventions).
pub fn sdk() -> [(String, String); 3] {
    [
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.name", NAME),
        ("telemetry.sdk.version", VERSION),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
}

/// The field `resource` of a `ResourceSpans` or `ResourceLogs`, encoded.
pub fn resource(attributes: &BTreeMap<String, String>) -> Bytes {
    let attributes = attributes.iter();
    let attributes = attributes.map(|(key, value)| attribute(key.clone(), value.clone()));
    let resource = Resource {
        attributes: attributes.collect(),
    };
    field(1, &[&resource.encode_to_vec()]).into()
}

/// The field `scope` of a `ScopeSpans` or `ScopeLogs`, encoded.
pub fn scope() -> Bytes {
    let scope = InstrumentationScope {
        name: NAME.to_owned(),
        version: VERSION.to_owned(),
        ..InstrumentationScope::default()
    };
    field(1, &[&scope.encode_to_vec()]).into()
}

/// The request that exports `entries`, encoded fields of a `ScopeSpans` or `ScopeLogs`.
pub fn export(resource: &[u8], scope: &[u8], entries: &[u8]) -> Vec<u8> {
    let scoped = field(2, &[scope, entries]);
    field(1, &[resource, &scoped])
}

/// One entry for [`export`].
pub fn entry(message: &impl Message, out: &mut Vec<u8>) {
    prost::encoding::message::encode(2, message, out);
}

/// A field whose content consists of encoded parts.
pub fn field(tag: u32, parts: &[&[u8]]) -> Vec<u8> {
    use prost::encoding::{WireType, encode_key, encode_varint};
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 16);
    encode_key(tag, WireType::LengthDelimited, &mut out);
    encode_varint(length as u64, &mut out);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}
