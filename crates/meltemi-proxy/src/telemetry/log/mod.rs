//! Access logs: Envoy's format strings, evaluated and written without blocking a worker.

mod arguments;
mod certificate;
mod filter;
mod json;
mod parse;
mod record;
mod render;
mod service;
mod sink;
mod time;
mod values;

pub use parse::{parse_json, parse_text};
#[cfg(fuzzing)]
pub use render::append;
pub use render::header_value;
pub(super) use service::{bytes, joined, request_bytes};
pub use sink::flush;

use super::StreamInfo;
use super::outbox::Outbox;
use crate::model::{
    AccessLog, JsonValue, LogFormat, LogHeader, LogOperator, LogOutput, LogPart, RecordValue,
};

/// Istio's default format, also Envoy's plus Istio's fields.
pub const DEFAULT_FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// Writes a line to every log whose filter accepts the exchange.
pub fn write_all(logs: &[AccessLog], info: &StreamInfo) {
    for log in logs {
        if log
            .filter
            .as_ref()
            .is_none_or(|filter| filter::accepts(filter, info))
        {
            match &log.output {
                LogOutput::Lines(sink, format) => {
                    sink::write(sink, |line| render::append(line, format, info));
                }
                LogOutput::Service(log) => {
                    Outbox::of(&log.feed).push(|out| service::append(out, log, info));
                }
                LogOutput::Records(log) => {
                    Outbox::of(&log.feed).push(|out| record::append(out, log, info));
                }
            }
        }
    }
}

/// Whether any of these logs reads a request or response header, so that the data path
/// must keep them.
pub fn needs_headers(logs: &[AccessLog]) -> bool {
    logs.iter().any(|log| {
        let output = match &log.output {
            LogOutput::Lines(_, format) => format_needs_headers(format),
            LogOutput::Service(_) | LogOutput::Records(_) => true,
        };
        output || log.filter.as_ref().is_some_and(filter::needs_headers)
    })
}

/// Whether any of these logs reads a trailer of the answer.
pub fn needs_trailers(logs: &[AccessLog]) -> bool {
    logs.iter().any(|log| {
        let output = match &log.output {
            LogOutput::Lines(_, format) => format_reads_trailers(format),
            LogOutput::Service(log) => !log.response_trailers.is_empty(),
            LogOutput::Records(log) => {
                let attributes = log.attributes.iter().map(|(_, value)| value);
                attributes.chain(&log.body).any(|value| match value {
                    RecordValue::Format(format) => format_reads_trailers(format),
                    RecordValue::Constant(_) => false,
                })
            }
        };
        output || log.filter.as_ref().is_some_and(filter::needs_trailers)
    })
}

fn format_reads_trailers(format: &LogFormat) -> bool {
    any_operator(format, &|operator| {
        matches!(operator, LogOperator::Trailer(..))
    })
}

/// Whether a format reads a header or trailer of the answer.
pub fn format_reads_answers(format: &LogFormat) -> bool {
    any_operator(format, &|operator| {
        matches!(
            operator,
            LogOperator::Resp(..) | LogOperator::Trailer(..) | LogOperator::ResponseHeadersBytes
        )
    })
}

fn any_operator(format: &LogFormat, test: &dyn Fn(&LogOperator) -> bool) -> bool {
    match format {
        LogFormat::Text(parts) => any_of_parts(parts, test),
        LogFormat::Json(fields, _) => fields.iter().any(|(_, value)| any_of_json(value, test)),
    }
}

fn any_of_json(value: &JsonValue, test: &dyn Fn(&LogOperator) -> bool) -> bool {
    match value {
        JsonValue::Format(parts) => any_of_parts(parts, test),
        JsonValue::Constant(_) => false,
        JsonValue::Object(fields) => fields.iter().any(|(_, value)| any_of_json(value, test)),
        JsonValue::List(values) => values.iter().any(|value| any_of_json(value, test)),
    }
}

fn any_of_parts(parts: &[LogPart], test: &dyn Fn(&LogOperator) -> bool) -> bool {
    parts.iter().any(|part| match part {
        LogPart::Operator(operator, _) => test(operator),
        LogPart::Text(_) => false,
    })
}

fn format_needs_headers(format: &LogFormat) -> bool {
    let named = |name: &LogHeader| matches!(name, LogHeader::Named(_));
    any_operator(format, &|operator| match operator {
        LogOperator::Req(name, other) => named(name) || other.as_ref().is_some_and(named),
        LogOperator::Resp(..)
        | LogOperator::Trailer(..)
        | LogOperator::Path(_)
        | LogOperator::RequestHeadersBytes
        | LogOperator::ResponseHeadersBytes => true,
        _ => false,
    })
}
