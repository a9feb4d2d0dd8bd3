//! Traces: the context that goes from hop to hop, and the spans that tell of them.

mod b3;
mod context;
mod finish;
mod hex;
pub(super) mod tags;
mod w3c;
mod zipkin;

pub use context::{Context, Found, Wire};
pub(super) use finish::nanos;
pub use finish::{finish, finish_attempt, finish_mirror};

use crate::model::{LogFormat, TraceRule};
use std::time::SystemTime;

/// Why a request is traced, or that it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    #[default]
    None,
    /// By chance.
    Sampled,
    /// A proxy before us asked for it (`x-envoy-force-trace`).
    Forced,
    /// The client asked for it (`x-client-trace-id`).
    Client,
}

impl Reason {
    pub fn traced(self) -> bool {
        self != Self::None
    }
}

/// The trace of one exchange.
pub struct Trace {
    pub span: Span,
    /// The attempt under way, where attempts have spans.
    pub attempt: Option<Attempt>,
}

impl Trace {
    /// Its spans go to a collector, and tell of the request.
    pub fn is_told(&self) -> bool {
        self.span.context.sampled
    }
}

/// What one participant did.
pub struct Span {
    pub context: Context,
    /// The other side of the connection gave the name (`x-envoy-decorator-operation`).
    pub name: Option<Box<str>>,
    /// As opposed to a client's.
    pub server: bool,
    /// The parent was in another process.
    pub remote_parent: bool,
    /// It is its client's span as well (Zipkin).
    pub shared: bool,
    pub started: SystemTime,
}

/// One try on an upstream.
pub struct Attempt {
    pub span: Span,
    /// From 1.
    pub number: u32,
}

/// The configured name of a span: the route's, or else the connection manager's.
pub fn operation<'a>(
    route: Option<&'a TraceRule>,
    manager: &'a TraceRule,
    get: impl Fn(&'a TraceRule) -> &'a Option<LogFormat>,
) -> Option<&'a LogFormat> {
    let route = route.and_then(|rule| get(rule).as_ref());
    route.or_else(|| get(manager).as_ref())
}
