//! Tracing: which requests are traced, how their spans are described, where spans go.

use super::{Feed, LogFormat};
use http::{HeaderName, HeaderValue};
use std::sync::Arc;

/// `HttpConnectionManager.tracing`.
pub struct Tracing {
    /// `None`: requests are marked as traced or not, and no span is made.
    pub provider: Option<TraceProvider>,
    pub rule: TraceRule,
    /// Bound on the path in `http.url`, in bytes.
    pub max_path: u32,
    /// Spans tell when bytes moved.
    pub verbose: bool,
    /// Each attempt on an upstream has a span of its own.
    pub spawn_upstream_span: bool,
    /// The trace's context is told to upstreams.
    pub propagates: bool,
    /// A tag reads headers of answers.
    pub reads_answers: bool,
}

/// What a connection manager says of its spans, and a route anew.
#[derive(Debug)]
pub struct TraceRule {
    pub sampling: Sampling,
    pub tags: Box<[SpanTag]>,
    /// The span's name, and that of its attempts'.
    pub operation: Option<LogFormat>,
    pub upstream_operation: Option<LogFormat>,
}

/// Shares of the requests, each as (numerator, denominator).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Of those that bring `x-client-trace-id`.
    pub client: (u32, u32),
    /// Of all others.
    pub random: (u32, u32),
    /// Of those chosen by any of these.
    pub overall: (u32, u32),
}

/// `custom_tags`.
#[derive(Debug)]
pub struct SpanTag {
    pub name: Box<str>,
    pub value: TagValue,
}

#[derive(Debug)]
pub enum TagValue {
    Literal(Box<str>),
    /// A request header, or the text where it is absent.
    Header(HeaderName, Option<Box<str>>),
    Format(LogFormat),
}

/// `Route.decorator`.
#[derive(Debug)]
pub struct Decorator {
    pub operation: HeaderValue,
    /// The other side of the connection is told.
    pub propagate: bool,
}

/// How spans are made and where they go.
pub struct TraceProvider {
    pub tracer: Tracer,
    /// `None`: nowhere.
    pub feed: Option<Arc<Feed>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracer {
    /// `traceparent` and `tracestate` (W3C Trace Context).
    OpenTelemetry,
    /// `x-b3-*`, or `b3` where the client sent that.
    Zipkin {
        /// 128 bits of trace id.
        wide: bool,
        /// A server's span is its client's.
        shared: bool,
        /// W3C's headers are read where there are none of B3, and written as well.
        w3c: bool,
    },
}
