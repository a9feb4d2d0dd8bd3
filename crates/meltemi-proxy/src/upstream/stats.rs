//! A cluster's counters, under Envoy's names: `cluster.NAME.*`. Gauges are not here: what
//! workers share anyway (`ClusterShared`) is read when somebody asks, see `telemetry::live`.

use super::UpstreamError;
use crate::model::ClusterConfig;
use crate::telemetry::stats::{Counter, Histogram};
use crate::tls::TlsError;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// The handles of one cluster on one worker.
pub(crate) struct ClusterStats {
    name: Box<str>,
    pub rq_total: Counter,
    pub rq_completed: Counter,
    pub rq_time: Histogram,
    pub rq_timeout: Counter,
    pub rq_per_try_timeout: Counter,
    pub rq_per_try_idle_timeout: Counter,
    pub rq_rx_reset: Counter,
    pub rq_retry: Counter,
    pub rq_retry_success: Counter,
    pub rq_retry_overflow: Counter,
    pub rq_retry_limit_exceeded: Counter,
    pub rq_pending_total: Counter,
    pub rq_pending_overflow: Counter,
    pub cx_total: Counter,
    pub cx_http1_total: Counter,
    pub cx_http2_total: Counter,
    pub cx_connect_fail: Counter,
    pub cx_connect_timeout: Counter,
    pub cx_overflow: Counter,
    pub cx_none_healthy: Counter,
    pub ssl_handshake: Counter,
    ssl_connection_error: Counter,
    ssl_fail_verify_san: Counter,
    ssl_fail_verify_cert_hash: Counter,
    ssl_fail_verify_error: Counter,
    /// `upstream_rq_1xx` to `5xx`.
    classes: [Counter; 5],
    /// By status, registered when first seen: at most 900 of them.
    codes: RefCell<SmallVec<[(u16, Counter); 4]>>,
}

thread_local! {
    /// Registration takes a lock: each worker does it once a cluster. As many entries as
    /// clusters were used in the process's life.
    static KNOWN: RefCell<HashMap<Box<str>, Rc<ClusterStats>>> = RefCell::default();
}

impl ClusterStats {
    /// By `alt_stat_name` where there is one. Not for the way of a request: pools keep it.
    pub fn of(config: &ClusterConfig) -> Rc<Self> {
        let name = config.stat_name();
        KNOWN.with_borrow_mut(|known| {
            if let Some(stats) = known.get(name) {
                return stats.clone();
            }
            let stats = Rc::new(Self::new(name));
            known.insert(name.into(), stats.clone());
            stats
        })
    }

    fn new(name: &str) -> Self {
        let counter = |rest: &str| Counter::scoped("cluster", name, rest);
        Self {
            rq_total: counter("upstream_rq_total"),
            rq_completed: counter("upstream_rq_completed"),
            rq_time: Histogram::scoped("cluster", name, "upstream_rq_time"),
            rq_timeout: counter("upstream_rq_timeout"),
            rq_per_try_timeout: counter("upstream_rq_per_try_timeout"),
            rq_per_try_idle_timeout: counter("upstream_rq_per_try_idle_timeout"),
            rq_rx_reset: counter("upstream_rq_rx_reset"),
            rq_retry: counter("upstream_rq_retry"),
            rq_retry_success: counter("upstream_rq_retry_success"),
            rq_retry_overflow: counter("upstream_rq_retry_overflow"),
            rq_retry_limit_exceeded: counter("upstream_rq_retry_limit_exceeded"),
            rq_pending_total: counter("upstream_rq_pending_total"),
            rq_pending_overflow: counter("upstream_rq_pending_overflow"),
            cx_total: counter("upstream_cx_total"),
            cx_http1_total: counter("upstream_cx_http1_total"),
            cx_http2_total: counter("upstream_cx_http2_total"),
            cx_connect_fail: counter("upstream_cx_connect_fail"),
            cx_connect_timeout: counter("upstream_cx_connect_timeout"),
            cx_overflow: counter("upstream_cx_overflow"),
            cx_none_healthy: counter("upstream_cx_none_healthy"),
            ssl_handshake: counter("ssl.handshake"),
            ssl_connection_error: counter("ssl.connection_error"),
            ssl_fail_verify_san: counter("ssl.fail_verify_san"),
            ssl_fail_verify_cert_hash: counter("ssl.fail_verify_cert_hash"),
            ssl_fail_verify_error: counter("ssl.fail_verify_error"),
            classes: [1, 2, 3, 4, 5].map(|class| counter(&format!("upstream_rq_{class}xx"))),
            codes: RefCell::default(),
            name: name.into(),
        }
    }

    /// The request's final answer, whoever gave it.
    pub fn answered(&self, status: u16, took: Duration) {
        let Some(class) = usize::from(status / 100).checked_sub(1) else {
            return;
        };
        let Some(class) = self.classes.get(class) else {
            return;
        };
        class.inc();
        self.rq_completed.inc();
        self.rq_time.record(took.as_secs_f64() * 1000.0);
        let mut codes = self.codes.borrow_mut();
        let counter = match codes.iter().find(|(known, _)| *known == status) {
            Some((_, counter)) => *counter,
            None => {
                let rest = format!("upstream_rq_{status}");
                let counter = Counter::scoped("cluster", &self.name, &rest);
                codes.push((status, counter));
                counter
            }
        };
        counter.inc();
    }

    /// A connection attempt is over.
    pub fn connected<T>(&self, result: &Result<T, UpstreamError>) {
        match result {
            Ok(_) => {}
            Err(UpstreamError::Connect { timeout, .. }) => {
                self.cx_connect_fail.inc();
                if *timeout {
                    self.cx_connect_timeout.inc();
                }
            }
            Err(_) => self.cx_connect_fail.inc(),
        }
    }

    pub fn tls_failed(&self, error: &TlsError) {
        match error {
            TlsError::WrongName => self.ssl_fail_verify_san.inc(),
            TlsError::NotPinned => self.ssl_fail_verify_cert_hash.inc(),
            TlsError::Untrusted(_) => self.ssl_fail_verify_error.inc(),
            // Whose certificate is refused is counted above alone.
            _ => self.ssl_connection_error.inc(),
        }
    }
}
