//! What the exchanges of one downstream connection share.

use super::stats::HttpStats;
use super::timeouts::Timers;
use crate::model::HttpManager;
use crate::telemetry::{ConnectionInfo, log};
use crate::worker::{DrainSignal, Worker};
use http::HeaderValue;
use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Abandoned requests that a connection may have before their share matters (Envoy: 500).
const ABANDONED: u32 = 500;

/// What a request's head is read and routed by: the connection without its sockets.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub manager: &'a HttpManager,
    pub info: &'a ConnectionInfo,
}

impl Arrival<'_> {
    /// The scheme that the connection itself speaks.
    pub fn scheme(&self) -> &'static str {
        if self.info.tls.is_some() {
            "https"
        } else {
            "http"
        }
    }
}

pub(crate) struct Downstream {
    pub manager: Arc<HttpManager>,
    pub info: Arc<ConnectionInfo>,
    pub worker: Rc<Worker>,
    pub stats: Rc<HttpStats>,
    pub opened: Instant,
    /// An access log reads headers: exchanges keep copies.
    pub keeps_headers: bool,
    /// Logs, metrics or traces read trailers.
    pub keeps_trailers: bool,
    /// An access log or filter reads method, host and path.
    pub keeps_head: bool,
    /// Value of the `server` header.
    pub server_name: HeaderValue,
    /// What `x-forwarded-client-cert` says of this connection, once a request needs it.
    pub own_element: OnceCell<HeaderValue>,
    /// Answers say that the connection closes.
    pub draining: Cell<bool>,
    /// Exchanges in flight.
    pub active: Cell<u32>,
    pub served: Cell<u32>,
    /// Requests that the client gave up before their answer had ended.
    pub abandoned: Cell<u32>,
    pub idle_since: Cell<Instant>,
    /// Timers of exchanges that ended, for the next ones.
    pub timers: Timers,
}

impl Downstream {
    pub fn new(
        manager: Arc<HttpManager>,
        info: Arc<ConnectionInfo>,
        worker: Rc<Worker>,
        drain: &DrainSignal,
    ) -> Self {
        let now = Instant::now();
        let stats = HttpStats::of(&manager.stat_prefix);
        let tracing = manager.tracing.as_ref();
        let metrics = manager.istio_stats.as_deref();
        stats.cx_total.inc();
        stats.cx_active.inc();
        if info.tls.is_some() {
            stats.cx_ssl_total.inc();
        }
        Self {
            stats,
            keeps_headers: log::needs_headers(&manager.access_logs)
                || tracing.is_some_and(|tracing| tracing.reads_answers)
                || metrics.is_some_and(|metrics| metrics.reads_headers),
            keeps_trailers: log::needs_trailers(&manager.access_logs)
                || tracing.is_some_and(|tracing| tracing.reads_answers)
                || metrics.is_some_and(|metrics| metrics.reads_trailers),
            keeps_head: !manager.access_logs.is_empty()
                || metrics.is_some_and(|metrics| metrics.reads_head),
            server_name: HeaderValue::from_str(&manager.server_name)
                .unwrap_or(HeaderValue::from_static("envoy")),
            own_element: OnceCell::new(),
            draining: Cell::new(drain.is_draining()),
            manager,
            info,
            worker,
            opened: now,
            active: Cell::new(0),
            served: Cell::new(0),
            abandoned: Cell::new(0),
            idle_since: Cell::new(now),
            timers: Timers::default(),
        }
    }

    /// Whether the client opens streams in order to reset them (CVE-2023-44487): more than
    /// half of many requests were abandoned (Envoy's `premature_reset_total_stream_count`).
    pub fn is_abused(&self) -> bool {
        let abandoned = self.abandoned.get();
        abandoned >= ABANDONED && abandoned > self.served.get() / 2
    }

    /// Requests that the client gave up before they were looked at.
    pub fn abandoned_unseen(&self, requests: u32) {
        self.served.set(self.served.get() + requests);
        self.abandoned.set(self.abandoned.get() + requests);
    }

    /// Whether the answer now being made is the last of an HTTP/1 connection.
    pub fn closes(&self) -> bool {
        self.is_ended_by_overload();
        self.draining.get()
            || self
                .manager
                .max_requests_per_connection
                .is_some_and(|limit| limit > 0 && self.served.get() >= limit)
    }

    /// Whether the overload manager has the connection end with what runs; told once.
    pub fn is_ended_by_overload(&self) -> bool {
        let by_action = self.worker.overload.ends_connection();
        let ends =
            (by_action || self.worker.overload.drains_connection()) && !self.draining.replace(true);
        if ends && by_action {
            self.stats.cx_overload_disable_keepalive.inc();
        }
        ends
    }

    pub fn arrival(&self) -> Arrival<'_> {
        Arrival {
            manager: &self.manager,
            info: &self.info,
        }
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        self.stats.cx_active.dec();
        self.stats.cx_destroy.inc();
    }
}
