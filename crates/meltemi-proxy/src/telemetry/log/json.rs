//! Lines that are JSON objects.

use super::render::{UNKNOWN, append_text, write_limited};
use crate::model::{AddressPart, JsonField, JsonValue, LogOperator, LogPart, StatusForm};
use crate::telemetry::StreamInfo;
use std::fmt::Write;

/// Appends a line. Absent values are null, or left out, as are then objects without any.
pub(super) fn append(out: &mut String, fields: &[JsonField], omits: bool, info: &StreamInfo) {
    let mut writer = Writer {
        out,
        omits,
        info,
        scratch: String::new(),
    };
    if !writer.object(fields) {
        writer.out.push_str("{}");
    }
    out.push('\n');
}

struct Writer<'a> {
    out: &'a mut String,
    omits: bool,
    info: &'a StreamInfo,
    scratch: String,
}

impl Writer<'_> {
    /// False when it is left out: nothing was written.
    fn object(&mut self, fields: &[JsonField]) -> bool {
        let start = self.out.len();
        self.out.push('{');
        let mut empty = true;
        for (key, value) in fields {
            let before = self.out.len();
            if !empty {
                self.out.push(',');
            }
            quote(self.out, key);
            self.out.push(':');
            match self.value(value) {
                true => empty = false,
                false => self.out.truncate(before),
            }
        }
        if empty && self.omits {
            self.out.truncate(start);
            return false;
        }
        self.out.push('}');
        true
    }

    fn list(&mut self, values: &[JsonValue]) {
        self.out.push('[');
        let mut empty = true;
        for value in values {
            let before = self.out.len();
            if !empty {
                self.out.push(',');
            }
            match self.value(value) {
                true => empty = false,
                false => self.out.truncate(before),
            }
        }
        self.out.push(']');
    }

    /// False when it is left out: nothing was written.
    fn value(&mut self, value: &JsonValue) -> bool {
        match value {
            JsonValue::Constant(text) if self.omits && &**text == "null" => return false,
            JsonValue::Constant(text) => self.out.push_str(text),
            JsonValue::Object(fields) => return self.object(fields),
            JsonValue::List(values) => self.list(values),
            JsonValue::Format(parts) => return self.format(parts),
        }
        true
    }

    fn format(&mut self, parts: &[LogPart]) -> bool {
        self.scratch.clear();
        let text = &mut self.scratch;
        if let [LogPart::Operator(operator, limit)] = parts {
            match write_limited(text, operator, *limit, self.info) {
                false if self.omits => return false,
                false => self.out.push_str("null"),
                true if is_number(operator) => self.out.push_str(text),
                true => quote(self.out, text),
            }
        } else {
            let unknown = if self.omits { "" } else { UNKNOWN };
            append_text(text, parts, unknown, self.info);
            quote(self.out, text);
        }
        true
    }
}

fn is_number(operator: &LogOperator) -> bool {
    use LogOperator as Op;
    matches!(
        operator,
        Op::ResponseCode
            | Op::BytesReceived
            | Op::BytesSent
            | Op::Retransmitted
            | Op::Duration
            | Op::RequestDuration
            | Op::ResponseDuration
            | Op::ResponseTxDuration
            | Op::UpstreamRequestAttemptCount
            | Op::ConnectionId
            | Op::Address(_, AddressPart::Port)
            | Op::Between(..)
            | Op::RequestHeadersBytes
            | Op::ResponseHeadersBytes
            | Op::GrpcStatus(StatusForm::Number)
    )
}

/// Runs of what stands for itself are copied as they are.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    let special = |c: char| c == '"' || c == '\\' || c.is_control();
    let mut rest = text;
    while let Some(at) = rest.find(special) {
        out.push_str(&rest[..at]);
        let mut after = rest[at..].chars();
        match after.next() {
            Some('\n') => out.push_str("\\n"),
            Some(c @ ('"' | '\\')) => out.extend(['\\', c]),
            Some(c) => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            None => {}
        }
        rest = after.as_str();
    }
    out.push_str(rest);
    out.push('"');
}
