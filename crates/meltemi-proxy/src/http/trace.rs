//! Tracing of an exchange: whether it is traced, its span, and who is told of it.

use super::exchange::Exchange;
use super::head::Head;
use super::{matching, names};
use crate::model::{
    Cluster, Decorator, Direction, HttpManager, RequestIdPolicy, Route, Sampling, Tracer, Tracing,
};
use crate::telemetry::StreamInfo;
use crate::telemetry::trace::{self, Attempt, Context, Found, Reason, Span, Trace};
use http::{HeaderMap, HeaderValue};
use std::sync::Arc;
use std::time::SystemTime;

/// Where a request id says whether the request is traced, and how (Envoy).
const MARK: usize = 14;
const ID_LENGTH: usize = 36;

/// The request's route is known, if it has one.
pub(crate) fn begin(exchange: &mut Exchange, head: &mut Head, route: Option<&Route>) {
    let downstream = exchange.downstream.clone();
    let Some(tracing) = &downstream.manager.tracing else {
        return;
    };
    let rule = route.and_then(|route| route.tracing.as_deref());
    let sampling = rule.map_or(&tracing.rule.sampling, |rule| &rule.sampling);
    let reason = decide(downstream.manager.request_id, sampling, &mut head.headers);
    let asked = head.headers.contains_key(&names::X_ENVOY_FORCE_TRACE);
    if asked || exchange.request_id.is_some() {
        exchange.request_id = head.headers.get(&names::X_REQUEST_ID).cloned();
    }
    downstream.stats.traced(reason);
    let egress = downstream.info.direction == Direction::Outbound;
    let mut name = None;
    if trace::operation(rule, &tracing.rule, |rule| &rule.operation).is_none() {
        let decorator = route.and_then(|route| route.decorator.as_deref());
        name = decorate(exchange, head, decorator, egress);
    }
    let span = span(tracing, head, reason, egress, name);
    let mut info = exchange.record.info.borrow_mut();
    info.traced = reason.traced();
    info.trace = span.map(|mut span| {
        span.started = info.started_at;
        Box::new(Trace {
            span,
            attempt: None,
        })
    });
}

/// Chooses, and marks the request's id with the choice, by which proxies behind us choose
/// the same (Envoy's `mutateTracingRequestHeader`).
fn decide(policy: RequestIdPolicy, sampling: &Sampling, headers: &mut HeaderMap) -> Reason {
    if !policy.samples {
        return Reason::Sampled;
    }
    let id = headers.get(&names::X_REQUEST_ID).map(HeaderValue::as_bytes);
    let number = id
        .and_then(|id| std::str::from_utf8(id.get(..8)?).ok())
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let (Some(id), Some(number)) = (id, number) else {
        return Reason::None;
    };
    let number = (number % 10_000) as u32;
    let below = |(numerator, denominator): (u32, u32)| number % denominator < numerator;
    let before = (id.len() == ID_LENGTH).then(|| match id[MARK] {
        b'9' => Reason::Sampled,
        b'a' => Reason::Forced,
        b'b' => Reason::Client,
        _ => Reason::None,
    });
    let before = before.unwrap_or_default();
    let mut reason = before;
    if reason == Reason::None {
        if headers.contains_key(&names::X_CLIENT_TRACE_ID) && matching::chance(sampling.client) {
            reason = Reason::Client;
        } else if headers.contains_key(&names::X_ENVOY_FORCE_TRACE) {
            reason = Reason::Forced;
        } else if below(sampling.random) {
            reason = Reason::Sampled;
        }
    }
    if reason.traced() && !below(sampling.overall) {
        reason = Reason::None;
    }
    if reason != before && policy.marks_traces {
        mark(headers, reason);
    }
    reason
}

fn mark(headers: &mut HeaderMap, reason: Reason) {
    let Some(value) = headers.get_mut(&names::X_REQUEST_ID) else {
        return;
    };
    let Ok(mut id) = <[u8; ID_LENGTH]>::try_from(value.as_bytes()) else {
        return;
    };
    id[MARK] = match reason {
        Reason::None => b'4',
        Reason::Sampled => b'9',
        Reason::Forced => b'a',
        Reason::Client => b'b',
    };
    if let Ok(marked) = HeaderValue::from_bytes(&id) {
        *value = marked;
    }
}

/// What the route calls the request: a server is told by its client, and tells the client
/// when it was not. The name that the client gave.
fn decorate(
    exchange: &mut Exchange,
    head: &mut Head,
    decorator: Option<&Decorator>,
    egress: bool,
) -> Option<Box<str>> {
    let told = decorator.filter(|decorator| decorator.propagate);
    let told = told.map(|decorator| decorator.operation.clone());
    if egress {
        if let Some(operation) = told {
            let name = names::X_ENVOY_DECORATOR_OPERATION.clone();
            head.headers.insert(name, operation);
        }
        return None;
    }
    let given = head.headers.remove(&names::X_ENVOY_DECORATOR_OPERATION);
    let given = given.filter(|given| !given.is_empty());
    if given.is_none() {
        exchange.operation = told;
    }
    Some(given?.to_str().ok()?.into())
}

/// `None` where there is no tracer, or the request's context is malformed: it then goes on
/// as it is.
fn span(
    tracing: &Tracing,
    head: &Head,
    reason: Reason,
    egress: bool,
    name: Option<Box<str>>,
) -> Option<Span> {
    let tracer = tracing.provider.as_ref()?.tracer;
    let server = !egress || tracing.spawn_upstream_span;
    let (context, shared, remote_parent) = match Found::of(tracer, &head.headers) {
        Found::Malformed => return None,
        Found::Nothing { wire, sampled } => {
            let sampled = sampled.unwrap_or(reason.traced());
            (Context::begin(tracer, wire, sampled), false, false)
        }
        Found::Context(mut context, sampled) => {
            context.sampled = match tracer {
                // A trace is told of where all who pass it on wish so (Envoy).
                Tracer::OpenTelemetry => context.sampled && reason.traced(),
                Tracer::Zipkin { .. } => sampled.unwrap_or(reason.traced()),
            };
            let shared = server && matches!(tracer, Tracer::Zipkin { shared: true, .. });
            let context = if shared { context } else { context.child() };
            (context, shared, true)
        }
    };
    Some(Span {
        context,
        name,
        server,
        remote_parent,
        shared,
        started: SystemTime::UNIX_EPOCH,
    })
}

/// Tells the upstream where in the trace it is.
pub(crate) fn propagate(exchange: &Exchange, head: &mut Head) {
    let info = exchange.record.info.borrow();
    if let (Some(trace), Some(tracing)) = (&info.trace, &exchange.downstream.manager.tracing)
        && tracing.propagates
    {
        trace.span.context.write(&mut head.headers);
    }
}

/// A try on an upstream begins, which may have a span of its own.
pub(crate) fn begin_attempt(exchange: &Exchange, head: &mut Head) {
    let mut info = exchange.record.info.borrow_mut();
    let number = info.attempts;
    let (Some(trace), Some(tracing)) = (&mut info.trace, &exchange.downstream.manager.tracing)
    else {
        return;
    };
    if !tracing.spawn_upstream_span {
        return;
    }
    let span = Span {
        context: trace.span.context.child(),
        name: None,
        server: false,
        remote_parent: false,
        shared: false,
        started: SystemTime::now(),
    };
    if tracing.propagates {
        span.context.write(&mut head.headers);
    }
    trace.attempt = Some(Attempt { span, number });
}

/// A try is over, with a status or why it has none, and another one will follow.
pub(crate) fn end_attempt(exchange: &Exchange, outcome: Result<u16, &'static str>) {
    let mut info = exchange.record.info.borrow_mut();
    if info.trace.is_some() {
        trace::finish_attempt(&info, outcome, &exchange.downstream.manager);
    }
    if let Some(trace) = &mut info.trace {
        trace.attempt = None;
    }
}

/// The span of a mirrored request, a child of the request's.
pub(crate) struct MirrorSpan {
    info: StreamInfo,
    manager: Arc<HttpManager>,
}

/// A copy of the request goes to a mirror; `sampled`: in place of what holds for the request.
pub(crate) fn begin_mirror(
    exchange: &Exchange,
    cluster: &Cluster,
    sampled: Option<bool>,
) -> Option<MirrorSpan> {
    let request = exchange.record.info.borrow();
    let trace = request.trace.as_ref()?;
    let mut context = trace.span.context.child();
    context.sampled = sampled.unwrap_or(context.sampled);
    let span = Span {
        context,
        name: None,
        server: false,
        remote_parent: false,
        shared: false,
        started: SystemTime::now(),
    };
    let mut info = StreamInfo::new(request.connection.clone(), request.protocol);
    info.cluster = Some(cluster.config.clone());
    info.trace = Some(Box::new(Trace {
        span,
        attempt: None,
    }));
    Some(MirrorSpan {
        info,
        manager: exchange.downstream.manager.clone(),
    })
}

impl MirrorSpan {
    /// Tells the mirror where in the trace it is.
    pub fn write(&self, head: &mut Head) {
        if let (Some(trace), Some(tracing)) = (&self.info.trace, &self.manager.tracing)
            && tracing.propagates
        {
            trace.span.context.write(&mut head.headers);
        }
    }

    /// The mirror has answered, or not.
    pub fn finish(self, status: Option<u16>) {
        trace::finish_mirror(&self.info, status.ok_or("no answer"), &self.manager);
    }
}

/// An answer passes: a client learns what the server calls the request, and we learn it of an
/// upstream.
pub(crate) fn answer(exchange: &mut Exchange, headers: &mut HeaderMap) {
    if exchange.downstream.info.direction != Direction::Outbound {
        if let Some(operation) = exchange.operation.take() {
            let name = names::X_ENVOY_DECORATOR_OPERATION.clone();
            headers.insert(name, operation);
        }
        return;
    }
    let Some(given) = headers.remove(&names::X_ENVOY_DECORATOR_OPERATION) else {
        return;
    };
    let mut info = exchange.record.info.borrow_mut();
    if let (Some(trace), Ok(name)) = (&mut info.trace, given.to_str())
        && !name.is_empty()
    {
        trace.span.name = Some(name.into());
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    const POLICY: RequestIdPolicy = RequestIdPolicy {
        generate: true,
        preserve_external: false,
        always_set_in_response: false,
        marks_traces: true,
        samples: true,
    };
    const ID: &str = "e9f5b09d-e4c7-43da-8143-693bf523bba1";

    fn decided(lines: &[(&'static str, &'static str)], shares: [u32; 3]) -> (Reason, Option<char>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let sampling = Sampling {
            client: (shares[0], 100),
            random: (shares[1], 10_000),
            overall: (shares[2], 100),
        };
        let reason = decide(POLICY, &sampling, &mut headers);
        let id = headers.get("x-request-id");
        let mark = id.and_then(|id| id.to_str().ok()?.chars().nth(MARK));
        (reason, mark)
    }

    #[test]
    fn a_request_is_sampled_by_its_id_and_marked() {
        // 0xe9f5b09d % 10000 is 2861.
        let id = [("x-request-id", ID)];
        assert_eq!(0xe9f5_b09d_u64 % 10_000, 2861);
        assert_eq!(decided(&id, [0, 2862, 100]), (Reason::Sampled, Some('9')));
        assert_eq!(decided(&id, [0, 2861, 100]), (Reason::None, Some('4')));
        assert_eq!(decided(&id, [0, 10_000, 61]), (Reason::None, Some('4')));
        assert_eq!(decided(&id, [0, 10_000, 62]), (Reason::Sampled, Some('9')));
    }

    #[test]
    fn what_others_decided_holds() {
        let marked = |id| decided(&[("x-request-id", id)], [0, 0, 100]).0;
        assert_eq!(
            marked("e9f5b09d-e4c7-93da-8143-693bf523bba1"),
            Reason::Sampled
        );
        assert_eq!(
            marked("e9f5b09d-e4c7-a3da-8143-693bf523bba1"),
            Reason::Forced
        );
        assert_eq!(
            marked("e9f5b09d-e4c7-b3da-8143-693bf523bba1"),
            Reason::Client
        );
        let refused = [("x-request-id", "e9f5b09d-e4c7-93da-8143-693bf523bba1")];
        assert_eq!(decided(&refused, [0, 0, 0]), (Reason::None, Some('4')));
    }

    #[test]
    fn clients_and_proxies_may_ask() {
        let asked = |name| decided(&[("x-request-id", ID), (name, "1")], [100, 0, 100]);
        assert_eq!(asked("x-client-trace-id"), (Reason::Client, Some('b')));
        assert_eq!(asked("x-envoy-force-trace"), (Reason::Forced, Some('a')));
    }

    #[test]
    fn an_id_that_is_none_is_never_sampled() {
        for id in ["short", "z9f5b09d-e4c7-43da-8143-693bf523bba1"] {
            assert_eq!(
                decided(&[("x-request-id", id)], [100, 10_000, 100]).0,
                Reason::None
            );
        }
        assert_eq!(decided(&[], [100, 10_000, 100]).0, Reason::None);
    }
}
