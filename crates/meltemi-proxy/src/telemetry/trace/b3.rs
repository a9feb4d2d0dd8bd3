//! B3: `x-b3-*`, or all of it in `b3`, as Envoy reads and writes it.

use super::context::{Context, Found, Wire, put};
use super::{hex, w3c};
use http::{HeaderMap, HeaderName, HeaderValue};

static B3: HeaderName = HeaderName::from_static("b3");
static TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
static SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
static PARENT_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
static SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");

static YES: HeaderValue = HeaderValue::from_static("1");
static NO: HeaderValue = HeaderValue::from_static("0");

/// The longest `b3`: trace, span, flag, parent.
const LONGEST: usize = 32 + 1 + 16 + 3 + 16;
/// The shortest that names a span.
const SHORTEST: usize = 16 + 1 + 16;

/// `or_w3c`: W3C's headers count where there are none of B3.
pub(super) fn find(headers: &HeaderMap, or_w3c: bool) -> Found {
    if let Some(value) = headers.get(&B3) {
        return single(value.as_bytes(), or_w3c);
    }
    let wire = Wire::B3 { w3c: or_w3c };
    let sampled = headers
        .get(&SAMPLED)
        .map(|value| matches!(value.as_bytes(), b"1" | b"true"));
    let (Some(trace), Some(span)) = (headers.get(&TRACE_ID), headers.get(&SPAN_ID)) else {
        if or_w3c && sampled.is_none() {
            return w3c::find(headers, wire);
        }
        return Found::Nothing { wire, sampled };
    };
    let parent = headers.get(&PARENT_ID).filter(|value| !value.is_empty());
    let parent = parent.map(|value| hex::parse_u64(value.as_bytes()));
    let ids = (
        hex::parse(trace.as_bytes()),
        hex::parse_u64(span.as_bytes()),
        parent,
    );
    let (Some(trace), Some(span), parent @ (None | Some(Some(_)))) = ids else {
        return Found::Malformed;
    };
    Found::Context(
        Context {
            trace,
            span,
            parent: parent.flatten().filter(|parent| *parent != 0),
            sampled: sampled.unwrap_or(false),
            state: None,
            wire,
        },
        sampled,
    )
}

fn single(value: &[u8], w3c: bool) -> Found {
    let wire = Wire::B3Single { w3c };
    let flag = |text: &[u8]| match text {
        b"0" => Some(false),
        b"1" | b"d" => Some(true),
        _ => None,
    };
    if let Some(sampled) = flag(value) {
        return Found::Nothing {
            wire,
            sampled: Some(sampled),
        };
    }
    let read = || {
        let mut parts = value.split(|byte| *byte == b'-');
        let trace = parts.next().filter(|text| matches!(text.len(), 16 | 32))?;
        let (trace, span) = (hex::parse(trace)?, hex::parse_u64(parts.next()?)?);
        let sampled = match parts.next() {
            Some(text) => Some(flag(text)?),
            None => None,
        };
        let parent = match parts.next() {
            Some(text) => Some(hex::parse_u64(text).filter(|_| text.len() == 16)?),
            None => None,
        };
        let whole = parts.next().is_none() && (SHORTEST..=LONGEST).contains(&value.len());
        whole.then_some((trace, span, sampled, parent))
    };
    let Some((trace, span, sampled, parent)) = read() else {
        return Found::Malformed;
    };
    Found::Context(
        Context {
            trace,
            span,
            parent: parent.filter(|parent| *parent != 0),
            sampled: sampled.unwrap_or(false),
            state: None,
            wire,
        },
        sampled,
    )
}

pub(super) fn write(context: &Context, headers: &mut HeaderMap) {
    let id = |number: u128, digits| {
        let mut text = Vec::with_capacity(32);
        hex::push(&mut text, number, digits);
        text
    };
    let trace = id(context.trace, context.trace_digits());
    let span = id(context.span.into(), 16);
    let parent = context.parent.map(|parent| id(parent.into(), 16));
    let sampled = if context.sampled { &YES } else { &NO };
    if matches!(context.wire, Wire::B3Single { .. }) {
        let mut text = Vec::with_capacity(LONGEST);
        text.extend_from_slice(&trace);
        for part in [Some(&*span), Some(sampled.as_bytes()), parent.as_deref()]
            .into_iter()
            .flatten()
        {
            text.push(b'-');
            text.extend_from_slice(part);
        }
        return put(headers, &B3, text);
    }
    put(headers, &TRACE_ID, trace);
    put(headers, &SPAN_ID, span);
    if let Some(parent) = parent {
        put(headers, &PARENT_ID, parent);
    }
    headers.insert(SAMPLED.clone(), sampled.clone());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tracer;

    const TRACER: Tracer = Tracer::Zipkin {
        wide: true,
        shared: false,
        w3c: false,
    };
    const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
    const SPAN: u64 = 0xb7ad_6b71_6920_3331;

    fn found(lines: &[(&'static str, &'static str)]) -> Found {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        Found::of(TRACER, &headers)
    }

    #[test]
    fn one_header_is_answered_with_one() {
        let text = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1-0000000000000007";
        let Found::Context(context, Some(true)) = found(&[("b3", text)]) else {
            panic!("there is a context");
        };
        assert_eq!(
            (context.trace, context.span, context.parent),
            (TRACE, SPAN, Some(7))
        );
        let mut headers = HeaderMap::new();
        context.write(&mut headers);
        assert_eq!(headers["b3"], text);
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn many_headers_are_answered_with_many() {
        let lines = [
            ("x-b3-traceid", "8448eb211c80319c"),
            ("x-b3-spanid", "b7ad6b7169203331"),
            ("x-b3-sampled", "0"),
        ];
        let Found::Context(context, Some(false)) = found(&lines) else {
            panic!("there is a context");
        };
        let mut headers = HeaderMap::new();
        context.child().write(&mut headers);
        assert_eq!(headers["x-b3-traceid"], "8448eb211c80319c");
        assert_eq!(headers["x-b3-parentspanid"], "b7ad6b7169203331");
        assert_eq!(headers["x-b3-sampled"], "0");
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn a_flag_alone_is_heeded() {
        for (lines, wanted) in [
            ([("b3", "0")], Some(false)),
            ([("b3", "d")], Some(true)),
            ([("x-b3-sampled", "true")], Some(true)),
            ([("x-b3-flags", "1")], None),
        ] {
            let Found::Nothing { sampled, .. } = found(&lines) else {
                panic!("{lines:?} is no context");
            };
            assert_eq!(sampled, wanted, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_context_is_left_alone() {
        for value in [
            "",
            "x",
            "0af7651916cd43dd8448eb211c80319c",
            "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-x",
            "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1-07",
            "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1-0000000000000007-1",
        ] {
            let result = found(&[("b3", value)]);
            assert!(matches!(result, Found::Malformed), "{value}: {result:?}");
        }
        let lines = [("x-b3-traceid", "zzz"), ("x-b3-spanid", "1")];
        assert!(matches!(found(&lines), Found::Malformed));
    }
}
