//! The account of one exchange: filled in on the way, reported once at its end.

use super::downstream::Downstream;
use crate::clock;
use crate::telemetry::stats::Counter;
use crate::telemetry::{self, Flags, Protocol, StreamInfo};
use crate::upstream::ClusterStats;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

pub(crate) struct Record {
    pub info: RefCell<StreamInfo>,
    pub downstream: Rc<Downstream>,
    /// When bytes last moved in either direction.
    pub activity: Cell<Instant>,
    /// The request is received in full.
    pub request_complete: Cell<Option<Instant>>,
    /// The exchange, when timers wait for the request's end.
    pub waker: RefCell<Option<Waker>>,
    /// The cluster that the request went to.
    upstream: RefCell<Option<Rc<ClusterStats>>>,
    /// Messages of gRPC are counted (the `grpc_stats` filter).
    pub counts_messages: Cell<bool>,
    /// A filter makes something of the answer's trailers, whatever the client can take.
    pub keeps_trailers: Cell<bool>,
    finished: Cell<bool>,
}

impl Record {
    pub fn new(downstream: Rc<Downstream>, protocol: Protocol) -> Rc<Self> {
        downstream.active.set(downstream.active.get() + 1);
        downstream.served.set(downstream.served.get() + 1);
        downstream.stats.begin(protocol);
        let info = StreamInfo::new(downstream.info.clone(), protocol);
        Rc::new(Self {
            activity: Cell::new(info.started),
            info: RefCell::new(info),
            downstream,
            request_complete: Cell::new(None),
            waker: RefCell::default(),
            upstream: RefCell::default(),
            counts_messages: Cell::new(false),
            keeps_trailers: Cell::new(false),
            finished: Cell::new(false),
        })
    }

    /// Trailers do not pass between this client and any upstream.
    pub fn drops_trailers(&self) -> bool {
        !self.downstream.manager.http1.enable_trailers
            && !self.keeps_trailers.get()
            && self.info.borrow().protocol != Protocol::Http2
    }

    /// The answer counts for this cluster.
    pub fn charge(&self, stats: &Rc<ClusterStats>) {
        *self.upstream.borrow_mut() = Some(stats.clone());
    }

    /// Adds to a counter of the cluster in charge.
    pub fn count(&self, counter: impl FnOnce(&ClusterStats) -> Counter) {
        if let Some(stats) = &*self.upstream.borrow() {
            counter(stats).inc();
        }
    }

    /// Bytes moved.
    pub fn touch(&self) {
        self.activity.set(clock::now());
    }

    pub fn request_ended(&self) {
        if self.request_complete.get().is_none() {
            let now = clock::now();
            self.request_complete.set(Some(now));
            self.info.borrow_mut().request_complete = Some(now);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    /// The client has sent all that it will through a tunnel. On HTTP/1 it cannot say so but
    /// by closing.
    pub fn tunnel_ended(&self) {
        let mut info = self.info.borrow_mut();
        if info.protocol != Protocol::Http2 && !self.finished.get() {
            info.flags.insert(Flags::DOWNSTREAM_CONNECTION_TERMINATION);
            info.details = "downstream_remote_disconnect".into();
        }
    }

    /// Reports the exchange; the first call counts.
    pub fn finish(&self) {
        if self.finished.replace(true) {
            return;
        }
        let downstream = &self.downstream;
        downstream.active.set(downstream.active.get() - 1);
        downstream.idle_since.set(clock::now());
        let info = self.info.borrow();
        downstream.stats.end(&info);
        if let Some(stats) = self.upstream.take() {
            let from = info.request_complete.unwrap_or(info.started);
            stats.answered(info.status, clock::now().duration_since(from));
            match &*info.details {
                "response_timeout" => stats.rq_timeout.inc(),
                "upstream_reset_after_response_started{remote_reset}" => stats.rq_rx_reset.inc(),
                _ => {}
            }
        }
        telemetry::finish_http(&info, &downstream.manager);
    }
}

/// Owns the end of an exchange: first the exchange's future, then the answer's body.
/// Dropped before the end, it reports that the client went away.
pub(crate) struct Guard(pub Rc<Record>);

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.0.finished.get() {
            let mut info = self.0.info.borrow_mut();
            info.flags.insert(Flags::DOWNSTREAM_CONNECTION_TERMINATION);
            info.details = "downstream_remote_disconnect".into();
            drop(info);
            let abandoned = &self.0.downstream.abandoned;
            abandoned.set(abandoned.get() + 1);
            self.0.finish();
        }
    }
}
