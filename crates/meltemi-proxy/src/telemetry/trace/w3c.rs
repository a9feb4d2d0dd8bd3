//! W3C Trace Context (`traceparent`, `tracestate`), as Envoy reads and writes it.

use super::context::{Context, Found, Wire, put};
use super::hex;
use http::{HeaderMap, HeaderName, HeaderValue};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of a `traceparent`: `00-` trace `-` span `-` flags.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;
const SAMPLED: u128 = 1;

pub(super) fn find(headers: &HeaderMap, wire: Wire) -> Found {
    let Some(value) = headers.get(&TRACEPARENT) else {
        return Found::Nothing {
            wire,
            sampled: None,
        };
    };
    let Some((trace, span, sampled)) = parse(value.as_bytes()) else {
        return Found::Malformed;
    };
    let context = Context {
        trace,
        span,
        parent: None,
        sampled,
        state: match wire {
            Wire::W3c => state(headers),
            Wire::B3 { .. } | Wire::B3Single { .. } => None,
        },
        wire,
    };
    Found::Context(context, Some(sampled))
}

fn parse(value: &[u8]) -> Option<(u128, u64, bool)> {
    if value.len() != LENGTH || [2, 35, 52].iter().any(|at| value[*at] != b'-') {
        return None;
    }
    hex::parse(&value[..2])?;
    let trace = hex::parse(&value[3..35]).filter(|trace| *trace != 0)?;
    let span = hex::parse_u64(&value[36..52]).filter(|span| *span != 0)?;
    let flags = hex::parse(&value[53..])?;
    Some((trace, span, flags & SAMPLED != 0))
}

/// All lines as one (W3C Trace Context, 3.3.1.1).
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(&TRACESTATE).iter();
    let first = lines.next()?;
    let Some(second) = lines.next() else {
        return Some(first.clone());
    };
    let mut all = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        all.push(b',');
        all.extend_from_slice(line.as_bytes());
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(all)).ok()
}

/// Envoy writes `tracestate` even where there is none.
pub(super) fn write(context: &Context, with_state: bool, headers: &mut HeaderMap) {
    let mut text = Vec::with_capacity(LENGTH);
    text.extend_from_slice(b"00-");
    hex::push(&mut text, context.trace, 32);
    text.push(b'-');
    hex::push(&mut text, context.span.into(), 16);
    text.push(b'-');
    hex::push(&mut text, context.sampled.into(), 2);
    put(headers, &TRACEPARENT, text);
    if with_state {
        let state = context.state.clone();
        let state = state.unwrap_or(HeaderValue::from_static(""));
        headers.insert(TRACESTATE.clone(), state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tracer;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn a_trace_goes_on_under_a_new_span() {
        let parent = "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";
        let mut request = headers(&[("traceparent", parent), ("tracestate", "a=1")]);
        request.append("tracestate", HeaderValue::from_static("b=2"));
        let Found::Context(context, Some(true)) = Found::of(Tracer::OpenTelemetry, &request) else {
            panic!("there is a context");
        };
        assert_eq!(context.span, 0xb7ad_6b71_6920_3331);
        let child = context.child();
        assert_eq!(child.parent, Some(context.span));
        child.write(&mut request);
        let written = request["traceparent"].to_str().unwrap();
        assert_eq!(&written[..36], "00-0af7651916cd43dd8448eb211c80319c-");
        assert_ne!(&written[36..52], "b7ad6b7169203331");
        assert_eq!(&written[52..], "-01");
        assert_eq!(request["tracestate"], "a=1,b=2");
    }

    #[test]
    fn what_is_no_context_is_left_alone() {
        for value in [
            "",
            "garbage",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            let request = headers(&[("traceparent", value)]);
            let found = Found::of(Tracer::OpenTelemetry, &request);
            assert!(matches!(found, Found::Malformed), "{value}: {found:?}");
        }
    }

    #[test]
    fn a_trace_that_begins_has_a_state_that_is_empty() {
        let mut request = headers(&[("tracestate", "of=nobody")]);
        Context::begin(Tracer::OpenTelemetry, Wire::W3c, false).write(&mut request);
        assert!(request["traceparent"].to_str().unwrap().ends_with("-00"));
        assert_eq!(request["tracestate"], "");
    }
}
