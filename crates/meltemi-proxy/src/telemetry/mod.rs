//! What the proxy reports: counters, Istio's metrics, access logs, traces.

mod attributes;
mod expose;
mod flags;
mod info;
mod istio;
mod live;
pub mod log;
mod node;
pub mod otlp;
pub mod outbox;
pub mod peer;
pub mod stats;
pub mod trace;

pub(crate) use attributes::{needs_headers, needs_trailers};
pub use expose::{prometheus, stats_json, stats_text};
pub use flags::*;
pub use info::*;
pub(crate) use istio::is_standard_tag;
pub use live::{ServerState, ServerStatus, observe, set_draining};
pub use node::{node, set_node, zone};
pub use peer::set_local_workload;

use crate::model::{AccessLog, HttpManager, StandardMetrics};

/// The end of an HTTP exchange: access logs, Istio's metrics and the trace. Call it exactly once.
pub fn finish_http(info: &StreamInfo, manager: &HttpManager) {
    log::write_all(&manager.access_logs, info);
    if let Some(metrics) = &manager.istio_stats {
        istio::record_http(info, metrics);
    }
    if info.trace.is_some() {
        trace::finish(info, manager);
    }
}

/// The end of a TCP connection: access logs and, if asked for, Istio's metrics. Call it
/// exactly once, after [`open_tcp`].
pub fn finish_tcp(info: &StreamInfo, logs: &[AccessLog], metrics: Option<&StandardMetrics>) {
    log::write_all(logs, info);
    if let Some(metrics) = metrics {
        istio::close_tcp(info, metrics);
    }
}

/// A TCP connection has its upstream: counts it as opened in Istio's metrics.
pub fn open_tcp(info: &StreamInfo, metrics: Option<&StandardMetrics>) {
    if let Some(metrics) = metrics {
        istio::open_tcp(info, metrics);
    }
}
