//! The TCP proxy's counters, under Envoy's names: `tcp.PREFIX.*`.

use crate::telemetry::stats::Counter;
use std::cell::RefCell;
use std::collections::HashMap;

#[derive(Clone, Copy)]
pub(super) struct TcpStats {
    pub total: Counter,
    pub no_route: Counter,
    pub overload_close: Counter,
    pub idle: Counter,
    pub max_duration: Counter,
    pub received: Counter,
    pub sent: Counter,
}

thread_local! {
    /// Registration takes a lock: each thread does it once a prefix. As many entries as
    /// prefixes were configured in the process's life.
    static KNOWN: RefCell<HashMap<Box<str>, TcpStats>> = RefCell::default();
}

impl TcpStats {
    pub fn of(prefix: &str) -> Self {
        KNOWN.with_borrow_mut(|known| {
            if let Some(stats) = known.get(prefix) {
                return *stats;
            }
            let counter = |rest| Counter::scoped("tcp", prefix, rest);
            let stats = Self {
                total: counter("downstream_cx_total"),
                no_route: counter("downstream_cx_no_route"),
                overload_close: counter("downstream_cx_overload_close"),
                idle: counter("idle_timeout"),
                max_duration: counter("max_downstream_connection_duration"),
                received: counter("downstream_cx_rx_bytes_total"),
                sent: counter("downstream_cx_tx_bytes_total"),
            };
            known.insert(prefix.into(), stats);
            stats
        })
    }
}
