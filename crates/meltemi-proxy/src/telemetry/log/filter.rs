//! Which exchanges and connections a log is written of.

use crate::http::matching;
use crate::model::{Comparison, HeaderMatch, LogFilter, MatchName};
use crate::telemetry::{ALL_FLAGS, StreamInfo, attributes};

/// Whether it reads headers, so that the data path must keep them.
pub(super) fn needs_headers(filter: &LogFilter) -> bool {
    match filter {
        LogFilter::All(all) | LogFilter::Any(all) => all.iter().any(needs_headers),
        LogFilter::Not(filter) => needs_headers(filter),
        LogFilter::Header(_) | LogFilter::GrpcStatus(..) => true,
        LogFilter::Sample { by_id, .. } => *by_id,
        LogFilter::Expression(program) => {
            let mut attributes = program.attributes().into_iter();
            attributes.any(attributes::needs_headers)
        }
        LogFilter::Status(..)
        | LogFilter::Duration(..)
        | LogFilter::ResponseFlags(_)
        | LogFilter::Traced
        | LogFilter::Ending(_) => false,
    }
}

/// The same of trailers.
pub(super) fn needs_trailers(filter: &LogFilter) -> bool {
    match filter {
        LogFilter::All(all) | LogFilter::Any(all) => all.iter().any(needs_trailers),
        LogFilter::Not(filter) => needs_trailers(filter),
        LogFilter::Expression(program) => {
            let mut attributes = program.attributes().into_iter();
            attributes.any(attributes::needs_trailers)
        }
        _ => false,
    }
}

pub(super) fn accepts(filter: &LogFilter, info: &StreamInfo) -> bool {
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
        LogFilter::Sample {
            numerator,
            denominator,
            by_id,
        } => {
            let id = by_id.then(|| request_id(info)).flatten();
            let chance = id.unwrap_or_else(|| fastrand::u64(..));
            chance % u64::from((*denominator).max(1)) < u64::from(*numerator)
        }
        LogFilter::Traced => info.traced,
        LogFilter::GrpcStatus(statuses, exclude) => {
            let status = attributes::grpc_status(info).unwrap_or(attributes::UNKNOWN);
            statuses.contains(&status) != *exclude
        }
        LogFilter::Expression(program) => program.holds(&attributes::Of(info)),
        LogFilter::Ending(endings) => endings.contains(&info.ending),
    }
}

/// As Envoy reads it for a chance: the first eight digits.
fn request_id(info: &StreamInfo) -> Option<u64> {
    let id = info.request.headers.get("x-request-id")?.to_str().ok()?;
    u64::from_str_radix(id.get(..8)?, 16).ok()
}

fn compare(comparison: Comparison, left: u32, right: u32) -> bool {
    match comparison {
        Comparison::Eq => left == right,
        Comparison::Ge => left >= right,
        Comparison::Le => left <= right,
        Comparison::Ne => left != right,
    }
}

fn header_matches(matcher: &HeaderMatch, info: &StreamInfo) -> bool {
    let request = &info.request;
    let value = match &matcher.name {
        MatchName::Method => request.method.as_ref().map(http::Method::as_str),
        MatchName::Authority => request.authority.as_deref(),
        MatchName::Scheme => Some(request.scheme),
        MatchName::Path => request.path.as_deref(),
        // As Envoy: the first of several lines.
        MatchName::Header(name) => request.headers.get(name).and_then(|v| v.to_str().ok()),
    };
    matching::test(matcher, value.into_iter().map(str::as_bytes))
}
