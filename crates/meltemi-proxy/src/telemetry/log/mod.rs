//! Access logs: Envoy's format strings, evaluated and written without blocking a worker.

mod arguments;
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
pub use sink::flush;

use super::outbox::Outbox;
use super::{ALL_FLAGS, StreamInfo};
use crate::model::{
    AccessLog, Comparison, HeaderTest, LogFilter, LogFormat, LogHeader, LogOperator, LogOutput,
    LogPart,
};
use crate::model::{MatchName, StringMatch};

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
            .is_none_or(|filter| accepts(filter, info))
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
        output || log.filter.as_ref().is_some_and(filter_needs_headers)
    })
}

/// Whether a format reads a header or trailer of the answer.
pub fn format_reads_answers(format: &LogFormat) -> bool {
    operators(format).any(|operator| {
        matches!(
            operator,
            LogOperator::Resp(..) | LogOperator::Trailer(..) | LogOperator::ResponseHeadersBytes
        )
    })
}

fn operators(format: &LogFormat) -> impl Iterator<Item = &LogOperator> {
    let (text, fields) = match format {
        LogFormat::Text(parts) => (Some(parts), None),
        LogFormat::Json(fields, _) => (None, Some(fields)),
    };
    let fields = fields.into_iter().flatten().map(|(_, parts)| parts);
    text.into_iter()
        .chain(fields)
        .flatten()
        .filter_map(|part| match part {
            LogPart::Operator(operator, _) => Some(operator),
            LogPart::Text(_) | LogPart::Constant(_) => None,
        })
}

fn format_needs_headers(format: &LogFormat) -> bool {
    let named = |name: &LogHeader| matches!(name, LogHeader::Named(_));
    operators(format).any(|operator| match operator {
        LogOperator::Req(name, other) => named(name) || other.as_ref().is_some_and(named),
        LogOperator::Resp(..)
        | LogOperator::Trailer(..)
        | LogOperator::Path(_)
        | LogOperator::RequestHeadersBytes
        | LogOperator::ResponseHeadersBytes => true,
        _ => false,
    })
}

fn filter_needs_headers(filter: &LogFilter) -> bool {
    match filter {
        LogFilter::All(all) | LogFilter::Any(all) => all.iter().any(filter_needs_headers),
        LogFilter::Not(filter) => filter_needs_headers(filter),
        LogFilter::Header(_) => true,
        _ => false,
    }
}

fn accepts(filter: &LogFilter, info: &StreamInfo) -> bool {
    match filter {
        LogFilter::All(all) => all.iter().all(|filter| accepts(filter, info)),
        LogFilter::Any(any) => any.iter().any(|filter| accepts(filter, info)),
        LogFilter::Not(filter) => !accepts(filter, info),
        LogFilter::Status(comparison, value) => compare(*comparison, info.status.into(), *value),
        LogFilter::Duration(comparison, value) => {
            let elapsed = crate::clock::now().duration_since(info.started).as_millis();
            compare(*comparison, elapsed.try_into().unwrap_or(u32::MAX), *value)
        }
        LogFilter::ResponseFlags(names) if names.is_empty() => !info.flags.is_empty(),
        LogFilter::ResponseFlags(names) => ALL_FLAGS.iter().any(|(flag, short, _)| {
            info.flags.contains(*flag) && names.iter().any(|name| &**name == *short)
        }),
        LogFilter::Header(matcher) => header_matches(matcher, info),
        LogFilter::Sample(numerator, denominator) => {
            fastrand::u32(..(*denominator).max(1)) < *numerator
        }
        LogFilter::Traced => info.traced,
        LogFilter::GrpcStatus(statuses, exclude) => {
            let status = info.grpc_status.unwrap_or(u32::MAX);
            statuses.contains(&status) != *exclude
        }
    }
}

fn compare(comparison: Comparison, left: u32, right: u32) -> bool {
    match comparison {
        Comparison::Eq => left == right,
        Comparison::Ge => left >= right,
        Comparison::Le => left <= right,
        Comparison::Ne => left != right,
    }
}

fn header_matches(matcher: &crate::model::HeaderMatch, info: &StreamInfo) -> bool {
    let request = &info.request;
    let value = match &matcher.name {
        MatchName::Method => request.method.as_ref().map(http::Method::as_str),
        MatchName::Authority => request.authority.as_deref(),
        MatchName::Scheme => Some(request.scheme),
        MatchName::Path => request.path.as_deref(),
        MatchName::Header(name) => request.headers.get(name).and_then(|v| v.to_str().ok()),
    };
    let value = value.or(matcher.treat_missing_as_empty.then_some(""));
    let matched = match (&matcher.test, value) {
        (HeaderTest::Present(present), value) => *present == value.is_some(),
        // As Envoy: an absent header matches no value, inverted or not.
        (_, None) => return false,
        (HeaderTest::Value(test), Some(value)) => string_matches(test, value),
        (HeaderTest::Range(start, end), Some(value)) => value
            .parse::<i64>()
            .is_ok_and(|value| (*start..*end).contains(&value)),
    };
    matched != matcher.invert
}

fn string_matches(test: &StringMatch, value: &str) -> bool {
    let fold = |text: &str, ignore_case: bool| {
        if ignore_case {
            text.to_ascii_lowercase()
        } else {
            text.to_owned()
        }
    };
    match test {
        StringMatch::Exact(text, fold_case) => fold(value, *fold_case) == fold(text, *fold_case),
        StringMatch::Prefix(text, case) => fold(value, *case).starts_with(&fold(text, *case)),
        StringMatch::Suffix(text, case) => fold(value, *case).ends_with(&fold(text, *case)),
        StringMatch::Contains(text, case) => fold(value, *case).contains(&fold(text, *case)),
        StringMatch::Regex(expression) => expression.is_match(value),
    }
}
