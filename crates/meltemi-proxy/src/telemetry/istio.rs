//! Istio's standard metrics: `istio_requests_total` and its family.
//!
//! A series is found by its label text, in a table of the thread that needs it; only the
//! first sight of a combination registers anything.

use super::stats::{Counter, Histogram};
use super::{Protocol, StreamInfo, peer};
use crate::clock;
use crate::model::{Direction, Workload};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bound on label combinations in the process; what exceeds it is counted under one
/// combination with `overflow="true"`.
const MAX_SERIES: usize = 4096;

static SERIES: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Copy)]
struct HttpSeries {
    requests: Counter,
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
    request_messages: Counter,
    response_messages: Counter,
}

#[derive(Clone, Copy)]
struct TcpSeries {
    opened: Counter,
    closed: Counter,
    sent: Counter,
    received: Counter,
}

type Table<S> = HashMap<Box<str>, S, xxhash_rust::xxh64::Xxh64Builder>;

thread_local! {
    static HTTP: RefCell<Table<HttpSeries>> = RefCell::default();
    static TCP: RefCell<Table<TcpSeries>> = RefCell::default();
    static LABELS: RefCell<String> = RefCell::default();
}

fn series<S: Copy>(
    table: &'static std::thread::LocalKey<RefCell<Table<S>>>,
    info: &StreamInfo,
    register: fn(&str) -> S,
) -> S {
    LABELS.with_borrow_mut(|labels| {
        labels.clear();
        write_labels(labels, info);
        table.with_borrow_mut(|table| {
            if let Some(series) = table.get(labels.as_str()) {
                return *series;
            }
            if SERIES.fetch_add(1, Ordering::Relaxed) >= MAX_SERIES {
                return register("overflow=\"true\"");
            }
            let series = register(labels);
            table.insert(labels.as_str().into(), series);
            series
        })
    })
}

pub(super) fn record_http(info: &StreamInfo) {
    let series = series(&HTTP, info, |labels| HttpSeries {
        requests: Counter::new(&format!("istio_requests_total{{{labels}}}")),
        duration: Histogram::new(&format!("istio_request_duration_milliseconds{{{labels}}}")),
        request_bytes: Histogram::new(&format!("istio_request_bytes{{{labels}}}")),
        response_bytes: Histogram::new(&format!("istio_response_bytes{{{labels}}}")),
        request_messages: Counter::new(&format!("istio_request_messages_total{{{labels}}}")),
        response_messages: Counter::new(&format!("istio_response_messages_total{{{labels}}}")),
    });
    series.requests.inc();
    let elapsed = clock::now().duration_since(info.started);
    series.duration.record(elapsed.as_secs_f64() * 1000.0);
    series.request_bytes.record(info.bytes_received as f64);
    series.response_bytes.record(info.bytes_sent as f64);
    if info.grpc {
        series.request_messages.add(info.request_messages);
        series.response_messages.add(info.response_messages);
    }
}

fn tcp_series(info: &StreamInfo) -> TcpSeries {
    series(&TCP, info, |labels| TcpSeries {
        opened: Counter::new(&format!("istio_tcp_connections_opened_total{{{labels}}}")),
        closed: Counter::new(&format!("istio_tcp_connections_closed_total{{{labels}}}")),
        sent: Counter::new(&format!("istio_tcp_sent_bytes_total{{{labels}}}")),
        received: Counter::new(&format!("istio_tcp_received_bytes_total{{{labels}}}")),
    })
}

pub(super) fn open_tcp(info: &StreamInfo) {
    tcp_series(info).opened.inc();
}

pub(super) fn close_tcp(info: &StreamInfo) {
    let series = tcp_series(info);
    series.closed.inc();
    series.sent.add(info.bytes_sent);
    series.received.add(info.bytes_received);
}

/// The two ends of a call, from this proxy's point of view.
struct Ends<'a> {
    source: Party<'a>,
    destination: Party<'a>,
}

#[derive(Default)]
struct Party<'a> {
    workload: Option<&'a Workload>,
    app: &'a str,
    version: &'a str,
    principal: &'a str,
}

fn ends(info: &StreamInfo) -> Ends<'_> {
    let own = peer::local().map_or_else(Party::default, |local| Party {
        workload: local.peer.workload.as_ref(),
        app: &local.peer.app,
        version: &local.peer.version,
        principal: "",
    });
    let tls = info.connection.tls.as_ref();
    let mut other = info
        .peer
        .as_deref()
        .map_or_else(Party::default, |peer| Party {
            workload: peer.workload.as_ref(),
            app: &peer.app,
            version: &peer.version,
            principal: "",
        });
    if info.connection.direction == Direction::Inbound {
        other.principal = tls.and_then(|tls| tls.peer_uri.as_deref()).unwrap_or("");
        let principal = tls.and_then(|tls| tls.local_uri.as_deref()).unwrap_or("");
        Ends {
            source: other,
            destination: Party { principal, ..own },
        }
    } else {
        if other.workload.is_none() {
            other.workload = info.endpoint.as_deref().and_then(|e| e.workload.as_ref());
        }
        let tls = info.upstream_tls.as_ref();
        other.principal = tls.and_then(|tls| tls.peer_uri.as_deref()).unwrap_or("");
        Ends {
            source: own,
            destination: other,
        }
    }
}

fn write_labels(out: &mut String, info: &StreamInfo) {
    let inbound = info.connection.direction == Direction::Inbound;
    let Ends {
        source,
        destination,
    } = ends(info);
    label(
        out,
        "reporter",
        if inbound { "destination" } else { "source" },
    );
    party(out, "source", &source);
    party(out, "destination", &destination);
    service(out, info);
    let protocol = match (info.protocol, info.grpc) {
        (Protocol::Tcp, _) => "tcp",
        (_, true) => "grpc",
        _ => "http",
    };
    label(out, "request_protocol", protocol);
    out.push_str(",response_flags=\"");
    info.flags.write_short(out);
    out.push('"');
    if info.protocol != Protocol::Tcp {
        let _ = write!(out, ",response_code=\"{}\"", info.status);
        out.push_str(",grpc_response_status=\"");
        if let Some(status) = info.grpc_status {
            let _ = write!(out, "{status}");
        }
        out.push('"');
    }
    let security = match (&info.connection.tls, inbound) {
        (_, false) => "unknown",
        (Some(tls), true) if tls.mutual() => "mutual_tls",
        _ => "none",
    };
    label(out, "connection_security_policy", security);
}

fn party(out: &mut String, side: &str, party: &Party<'_>) {
    let unknown = |text: &str| -> &'static str { if text.is_empty() { "unknown" } else { "" } };
    let mut put = |key: &str, value: &str| {
        out.push(',');
        out.push_str(side);
        out.push('_');
        out.push_str(key);
        out.push_str("=\"");
        escape(out, value);
        out.push_str(unknown(value));
        out.push('"');
    };
    let field = |get: fn(&Workload) -> &str| party.workload.map_or("", get);
    put("workload", field(|w| &w.name));
    put("workload_namespace", field(|w| &w.namespace));
    put("principal", party.principal);
    put("app", or(party.app, field(|w| &w.canonical_name)));
    put(
        "version",
        or(party.version, field(|w| &w.canonical_revision)),
    );
    put("canonical_service", field(|w| &w.canonical_name));
    put(
        "canonical_revision",
        or(field(|w| &w.canonical_revision), "latest"),
    );
    put("cluster", field(|w| &w.cluster));
}

fn or<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

/// The destination service: the cluster's Istio metadata, else the host asked for.
fn service(out: &mut String, info: &StreamInfo) {
    let service = info.cluster.as_ref().and_then(|c| c.service.as_ref());
    let (host, name, namespace) = match service {
        Some(service) => (&*service.host, &*service.name, &*service.namespace),
        None => {
            let name = info.cluster.as_ref().map_or("unknown", |c| &*c.name);
            // An arbitrary host name asked for must not become a label.
            (name, name, "unknown")
        }
    };
    label(out, "destination_service", host);
    label(out, "destination_service_name", name);
    label(out, "destination_service_namespace", namespace);
}

fn label(out: &mut String, key: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(key);
    out.push_str("=\"");
    escape(out, value);
    out.push('"');
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}
