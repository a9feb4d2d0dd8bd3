//! Log records of OTLP.

use super::render;
use crate::model::{RecordLog, RecordValue};
use crate::telemetry::trace::{nanos, tags};
use crate::telemetry::{StreamInfo, otlp};

/// Appends a record as a field of `ScopeLogs`.
pub(super) fn append(out: &mut Vec<u8>, log: &RecordLog, info: &StreamInfo) {
    let value = |value: &RecordValue| match value {
        RecordValue::Format(format) => {
            let mut text = String::new();
            render::append(&mut text, format, info);
            otlp::text(text)
        }
        RecordValue::Constant(value) => value.clone(),
    };
    let attributes = log.attributes.iter().map(|(key, format)| otlp::KeyValue {
        key: key.to_string(),
        value: Some(value(format)),
        ..otlp::KeyValue::default()
    });
    let tags = tags::values(&log.tags, info);
    let tags = tags.map(|(name, value)| otlp::attribute(name, value));
    let context = info.trace.as_ref().map(|trace| &trace.span.context);
    let record = otlp::LogRecord {
        time_unix_nano: nanos(info.started_at),
        body: log.body.as_ref().map(value),
        attributes: attributes.chain(tags).collect(),
        trace_id: context
            .map(|c| c.trace.to_be_bytes().to_vec())
            .unwrap_or_default(),
        span_id: context
            .map(|c| c.span.to_be_bytes().to_vec())
            .unwrap_or_default(),
    };
    otlp::entry(&record, out);
}
