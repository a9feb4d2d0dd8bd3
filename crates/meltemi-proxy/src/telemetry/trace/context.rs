//! The context of a trace: read from a request, written to those that follow from it.

use super::{b3, w3c};
use crate::model::Tracer;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt::Write;

/// How a context is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// `traceparent`, `tracestate`.
    W3c,
    /// `x-b3-*`; `traceparent` as well.
    B3 { w3c: bool },
    /// `b3`, as the client does; `traceparent` as well.
    B3Single { w3c: bool },
}

/// A place in a trace.
#[derive(Clone, Debug)]
pub struct Context {
    pub trace: u128,
    pub span: u64,
    pub parent: Option<u64>,
    pub sampled: bool,
    /// `tracestate`, which is passed on as it came.
    pub state: Option<HeaderValue>,
    pub wire: Wire,
}

/// What a request says of a trace.
#[derive(Debug)]
pub enum Found {
    /// Nothing, or only whether it is to be sampled.
    Nothing { wire: Wire, sampled: Option<bool> },
    /// Where its sender is in a trace; `sampled` is for the receiver to say where it is absent.
    Context(Context, Option<bool>),
    /// What is no context: it goes on as it is, and nothing is made of it.
    Malformed,
}

impl Found {
    /// Reads a request's headers as `tracer` does.
    pub fn of(tracer: Tracer, headers: &HeaderMap) -> Self {
        match tracer {
            Tracer::OpenTelemetry => w3c::find(headers, Wire::W3c),
            Tracer::Zipkin { w3c, .. } => b3::find(headers, w3c),
        }
    }
}

impl Context {
    /// Of a trace that begins here.
    pub fn begin(tracer: Tracer, wire: Wire, sampled: bool) -> Self {
        let span = fresh();
        let trace = match tracer {
            Tracer::OpenTelemetry => fastrand::u128(1..),
            Tracer::Zipkin { wide: true, .. } => {
                u128::from(fastrand::u64(1..)) << 64 | u128::from(span)
            }
            Tracer::Zipkin { wide: false, .. } => span.into(),
        };
        Self {
            trace,
            span,
            parent: None,
            sampled,
            state: None,
            wire,
        }
    }

    /// Of a span within this one.
    pub fn child(&self) -> Self {
        Self {
            span: fresh(),
            parent: Some(self.span),
            ..self.clone()
        }
    }

    /// Tells the receiver of a request.
    pub fn write(&self, headers: &mut HeaderMap) {
        match self.wire {
            Wire::W3c => w3c::write(self, true, headers),
            Wire::B3 { w3c } | Wire::B3Single { w3c } => {
                b3::write(self, headers);
                if w3c {
                    w3c::write(self, false, headers);
                }
            }
        }
    }

    /// Appends the trace's id as collectors show it.
    pub fn write_trace_id(&self, out: &mut String) {
        let digits = self.trace_digits() as usize;
        let _ = write!(out, "{:0digits$x}", self.trace);
    }

    pub fn write_span_id(&self, out: &mut String) {
        let _ = write!(out, "{:016x}", self.span);
    }

    /// Zipkin's ids may have half the length.
    pub(super) fn trace_digits(&self) -> u32 {
        match self.wire {
            Wire::W3c => 32,
            _ if self.trace >> 64 == 0 => 16,
            _ => 32,
        }
    }
}

/// An identifier; 0 is none.
fn fresh() -> u64 {
    fastrand::u64(1..)
}

/// Sets a header to text that was put together here.
pub(super) fn put(headers: &mut HeaderMap, name: &HeaderName, text: Vec<u8>) {
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
        headers.insert(name.clone(), value);
    }
}
