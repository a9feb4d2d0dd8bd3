//! A connection manager's counters, under Envoy's names: `http.PREFIX.*`.

use crate::clock;
use crate::telemetry::stats::{Counter, Gauge, Histogram};
use crate::telemetry::trace::Reason;
use crate::telemetry::{Flags, Protocol, StreamInfo};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The handles of one prefix on one worker.
pub(crate) struct HttpStats {
    pub cx_total: Counter,
    pub cx_active: Gauge,
    pub cx_destroy: Counter,
    pub cx_ssl_total: Counter,
    pub cx_http1_total: Counter,
    pub cx_http2_total: Counter,
    pub cx_protocol_error: Counter,
    pub cx_idle_timeout: Counter,
    pub cx_max_duration_reached: Counter,
    pub cx_upgrades_total: Counter,
    pub cx_upgrades_active: Gauge,
    pub rq_too_many_resets: Counter,
    pub rq_overload_close: Counter,
    pub cx_overload_disable_keepalive: Counter,
    /// Exchanges that ended in a panic.
    pub rq_panic: Counter,
    rq_total: Counter,
    rq_active: Gauge,
    rq_http1_total: Counter,
    rq_http2_total: Counter,
    rq_completed: Counter,
    /// `downstream_rq_1xx` to `5xx`.
    classes: [Counter; 5],
    rq_time: Histogram,
    rq_rx_reset: Counter,
    rq_timeout: Counter,
    rq_header_timeout: Counter,
    rq_idle_timeout: Counter,
    rq_max_duration_reached: Counter,
    /// Requests that passed the filters.
    pub router_rq_total: Counter,
    /// Requests that the router answered, for the overload manager.
    pub overload_local_reply: Counter,
    no_route: Counter,
    no_cluster: Counter,
    direct_response: Counter,
    delays_injected: Counter,
    aborts_injected: Counter,
    /// By why requests are traced: not, by chance, by a proxy, by the client.
    traced: [Counter; 4],
}

thread_local! {
    /// Registration takes a lock: each worker does it once a prefix. As many entries as
    /// prefixes were used in the process's life.
    static KNOWN: RefCell<HashMap<Box<str>, Rc<HttpStats>>> = RefCell::default();
}

impl HttpStats {
    /// Once a connection.
    pub fn of(prefix: &str) -> Rc<Self> {
        KNOWN.with_borrow_mut(|known| {
            if let Some(stats) = known.get(prefix) {
                return stats.clone();
            }
            let stats = Rc::new(Self::new(prefix));
            known.insert(prefix.into(), stats.clone());
            stats
        })
    }

    fn new(prefix: &str) -> Self {
        let counter = |rest: &str| Counter::scoped("http", prefix, rest);
        let gauge = |rest| Gauge::scoped("http", prefix, rest);
        Self {
            cx_total: counter("downstream_cx_total"),
            cx_active: gauge("downstream_cx_active"),
            cx_destroy: counter("downstream_cx_destroy"),
            cx_ssl_total: counter("downstream_cx_ssl_total"),
            cx_http1_total: counter("downstream_cx_http1_total"),
            cx_http2_total: counter("downstream_cx_http2_total"),
            cx_protocol_error: counter("downstream_cx_protocol_error"),
            cx_idle_timeout: counter("downstream_cx_idle_timeout"),
            cx_max_duration_reached: counter("downstream_cx_max_duration_reached"),
            cx_upgrades_total: counter("downstream_cx_upgrades_total"),
            cx_upgrades_active: gauge("downstream_cx_upgrades_active"),
            rq_overload_close: counter("downstream_rq_overload_close"),
            cx_overload_disable_keepalive: counter("downstream_cx_overload_disable_keepalive"),
            rq_panic: counter("downstream_rq_panic"),
            rq_too_many_resets: counter("downstream_rq_too_many_premature_resets"),
            rq_total: counter("downstream_rq_total"),
            rq_active: gauge("downstream_rq_active"),
            rq_http1_total: counter("downstream_rq_http1_total"),
            rq_http2_total: counter("downstream_rq_http2_total"),
            rq_completed: counter("downstream_rq_completed"),
            classes: [1, 2, 3, 4, 5].map(|class| counter(&format!("downstream_rq_{class}xx"))),
            rq_time: Histogram::scoped("http", prefix, "downstream_rq_time"),
            rq_rx_reset: counter("downstream_rq_rx_reset"),
            rq_timeout: counter("downstream_rq_timeout"),
            rq_header_timeout: counter("downstream_rq_header_timeout"),
            rq_idle_timeout: counter("downstream_rq_idle_timeout"),
            rq_max_duration_reached: counter("downstream_rq_max_duration_reached"),
            router_rq_total: counter("rq_total"),
            overload_local_reply: counter("rq_overload_local_reply"),
            no_route: counter("no_route"),
            no_cluster: counter("no_cluster"),
            direct_response: counter("rq_direct_response"),
            delays_injected: counter("fault.delays_injected"),
            aborts_injected: counter("fault.aborts_injected"),
            traced: [
                "not_traceable",
                "random_sampling",
                "service_forced",
                "client_enabled",
            ]
            .map(|reason| counter(&format!("tracing.{reason}"))),
        }
    }

    pub fn begin(&self, protocol: Protocol) {
        self.rq_total.inc();
        self.rq_active.inc();
        match protocol {
            Protocol::Http2 => self.rq_http2_total.inc(),
            _ => self.rq_http1_total.inc(),
        }
    }

    pub fn traced(&self, reason: Reason) {
        self.traced[reason as usize].inc();
    }

    /// After as many calls of [`Self::begin`].
    pub fn end(&self, info: &StreamInfo) {
        self.rq_active.dec();
        let class = usize::from(info.status / 100).checked_sub(1);
        if let Some(class) = class.and_then(|class| self.classes.get(class)) {
            class.inc();
            self.rq_completed.inc();
        }
        let took = clock::now().duration_since(info.started).as_secs_f64() * 1000.0;
        self.rq_time.record(took);
        if !info.flags.is_empty() || info.details != "via_upstream" {
            self.unusual(info);
        }
    }

    #[cold]
    fn unusual(&self, info: &StreamInfo) {
        for (flag, counter) in [
            (Flags::NO_ROUTE_FOUND, self.no_route),
            (Flags::NO_CLUSTER_FOUND, self.no_cluster),
            (Flags::DOWNSTREAM_CONNECTION_TERMINATION, self.rq_rx_reset),
            (Flags::DOWNSTREAM_PROTOCOL_ERROR, self.cx_protocol_error),
            (Flags::STREAM_IDLE_TIMEOUT, self.rq_idle_timeout),
            (Flags::DURATION_TIMEOUT, self.rq_max_duration_reached),
            (Flags::DELAY_INJECTED, self.delays_injected),
            (Flags::FAULT_INJECTED, self.aborts_injected),
        ] {
            if info.flags.contains(flag) {
                counter.inc();
            }
        }
        match &*info.details {
            "direct_response" => self.direct_response.inc(),
            "request_overall_timeout" => self.rq_timeout.inc(),
            "request_header_timeout" => self.rq_header_timeout.inc(),
            _ => {}
        }
    }
}
