//! Istio's standard metrics: `istio_requests_total` and its family.
//!
//! A series is found by its label text, in a table of the thread that needs it; only the
//! first sight of a combination registers anything.

use super::stats::{Counter, Histogram};
use super::{Protocol, StreamInfo, attributes, peer};
use crate::clock;
use crate::model::{
    Direction, Metric, MetricGroup, StandardMetrics, TagChange, TagOverride, Workload,
};
use crate::text::number;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bound on label combinations in the process; what exceeds it is counted under one
/// combination with `overflow="true"`.
const MAX_SERIES: usize = 4096;

/// For what is not known.
const UNKNOWN: &str = "unknown";
/// The metrics of requests.
const HTTP_METRICS: u16 = Metric::TcpOpened.bit() - 1;

static SERIES: AtomicUsize = AtomicUsize::new(0);

/// Bytes of a tag's value that an expression makes.
const MAX_VALUE: usize = 256;

/// What is told of one combination, as far as it was told yet.
#[derive(Default)]
struct HttpSeries {
    requests: Option<Counter>,
    duration: Option<Histogram>,
    request_bytes: Option<Histogram>,
    response_bytes: Option<Histogram>,
    request_messages: Option<Counter>,
    response_messages: Option<Counter>,
}

#[derive(Default)]
struct TcpSeries {
    opened: Option<Counter>,
    closed: Option<Counter>,
    sent: Option<Counter>,
    received: Option<Counter>,
}

type Table<S> = HashMap<Box<str>, S, xxhash_rust::xxh64::Xxh64Builder>;

thread_local! {
    static HTTP: RefCell<Table<HttpSeries>> = RefCell::default();
    static TCP: RefCell<Table<TcpSeries>> = RefCell::default();
    static LABELS: RefCell<String> = RefCell::default();
}

fn series<S: Default>(
    table: &'static std::thread::LocalKey<RefCell<Table<S>>>,
    info: &StreamInfo,
    group: &MetricGroup,
    tell: impl FnOnce(&mut S, &str),
) {
    LABELS.with_borrow_mut(|labels| {
        labels.clear();
        write_labels(labels, info, group);
        table.with_borrow_mut(|table| {
            if let Some(series) = table.get_mut(labels.as_str()) {
                return tell(series, labels);
            }
            if SERIES.fetch_add(1, Ordering::Relaxed) >= MAX_SERIES {
                labels.clear();
                labels.push_str("overflow=\"true\"");
            }
            tell(table.entry(labels.as_str().into()).or_default(), labels);
        });
    });
}

fn counter(known: &mut Option<Counter>, name: &str, labels: &str) -> Counter {
    *known.get_or_insert_with(|| Counter::new(&format!("{name}{{{labels}}}")))
}

fn histogram(known: &mut Option<Histogram>, name: &str, labels: &str) -> Histogram {
    *known.get_or_insert_with(|| Histogram::new(&format!("{name}{{{labels}}}")))
}

pub(super) fn record_http(info: &StreamInfo, metrics: &StandardMetrics) {
    for group in &metrics.groups {
        if group.metrics & HTTP_METRICS != 0 {
            series(&HTTP, info, group, |series: &mut HttpSeries, labels| {
                tell_http(series, labels, info, group);
            });
        }
    }
}

fn tell_http(series: &mut HttpSeries, labels: &str, info: &StreamInfo, group: &MetricGroup) {
    if group.tells(Metric::Requests) {
        counter(&mut series.requests, "istio_requests_total", labels).inc();
    }
    if group.tells(Metric::Duration) {
        let elapsed = clock::now().duration_since(info.started);
        let name = "istio_request_duration_milliseconds";
        histogram(&mut series.duration, name, labels).record(elapsed.as_secs_f64() * 1000.0);
    }
    if group.tells(Metric::RequestBytes) {
        let bytes = info.bytes_received as f64;
        histogram(&mut series.request_bytes, "istio_request_bytes", labels).record(bytes);
    }
    if group.tells(Metric::ResponseBytes) {
        let bytes = info.bytes_sent as f64;
        histogram(&mut series.response_bytes, "istio_response_bytes", labels).record(bytes);
    }
    // Told of other requests, too, as none.
    let (sent, answered) = match info.grpc {
        true => (info.request_messages, info.response_messages),
        false => (0, 0),
    };
    if group.tells(Metric::RequestMessages) {
        let name = "istio_request_messages_total";
        counter(&mut series.request_messages, name, labels).add(sent);
    }
    if group.tells(Metric::ResponseMessages) {
        let name = "istio_response_messages_total";
        counter(&mut series.response_messages, name, labels).add(answered);
    }
}

fn tell_tcp(
    info: &StreamInfo,
    metrics: &StandardMetrics,
    told: u16,
    tell: impl Fn(&mut TcpSeries, &str, &MetricGroup),
) {
    for group in &metrics.groups {
        if group.metrics & told != 0 {
            series(&TCP, info, group, |series, labels| {
                tell(series, labels, group)
            });
        }
    }
}

pub(super) fn open_tcp(info: &StreamInfo, metrics: &StandardMetrics) {
    tell_tcp(
        info,
        metrics,
        Metric::TcpOpened.bit(),
        |series, labels, _| {
            let name = "istio_tcp_connections_opened_total";
            counter(&mut series.opened, name, labels).inc();
        },
    );
}

pub(super) fn close_tcp(info: &StreamInfo, metrics: &StandardMetrics) {
    let told = Metric::TcpClosed.bit() | Metric::TcpSent.bit() | Metric::TcpReceived.bit();
    tell_tcp(info, metrics, told, |series, labels, group| {
        if group.tells(Metric::TcpClosed) {
            let name = "istio_tcp_connections_closed_total";
            counter(&mut series.closed, name, labels).inc();
        }
        if group.tells(Metric::TcpSent) {
            let name = "istio_tcp_sent_bytes_total";
            counter(&mut series.sent, name, labels).add(info.bytes_sent);
        }
        if group.tells(Metric::TcpReceived) {
            let name = "istio_tcp_received_bytes_total";
            counter(&mut series.received, name, labels).add(info.bytes_received);
        }
    });
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

fn write_labels(out: &mut String, info: &StreamInfo, group: &MetricGroup) {
    let inbound = info.connection.direction == Direction::Inbound;
    let Ends {
        source,
        destination,
    } = ends(info);
    let mut labels = Labels {
        out,
        changes: &group.changes,
        info,
    };
    let reporter = if inbound { "destination" } else { "source" };
    labels.text("reporter", reporter);
    labels.party(&SOURCE, &source);
    labels.party(&DESTINATION, &destination);
    labels.service();
    let protocol = match (info.protocol, info.grpc) {
        (Protocol::Tcp, _) => "tcp",
        (_, true) => "grpc",
        _ => "http",
    };
    labels.text("request_protocol", protocol);
    labels.put("response_flags", |out| info.flags.write_short(out));
    if info.protocol != Protocol::Tcp {
        labels.put("response_code", |out| number(out, info.status.into()));
        labels.put("grpc_response_status", |out| {
            if let Some(status) = info.grpc_status {
                number(out, status.into());
            }
        });
    }
    let security = match (&info.connection.tls, inbound) {
        (_, false) => "unknown",
        (Some(tls), true) if tls.mutual() => "mutual_tls",
        _ => "none",
    };
    labels.text("connection_security_policy", security);
    labels.added();
}

/// Tags of one end, in the order of [`Labels::party`].
const SOURCE: [&str; 8] = [
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_canonical_service",
    "source_canonical_revision",
    "source_cluster",
];
const DESTINATION: [&str; 8] = [
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_cluster",
];
/// Those that are not of one end.
const OTHERS: [&str; 9] = [
    "reporter",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "request_protocol",
    "response_flags",
    "response_code",
    "grpc_response_status",
    "connection_security_policy",
];

/// Whether Istio's metrics have the tag.
pub(crate) fn is_standard_tag(tag: &str) -> bool {
    let mut all = [&SOURCE[..], &DESTINATION, &OTHERS].into_iter();
    all.any(|tags| tags.contains(&tag))
}

struct Labels<'o, 'i> {
    out: &'o mut String,
    changes: &'i [TagChange],
    info: &'i StreamInfo,
}

impl Labels<'_, '_> {
    fn put(&mut self, key: &str, write: impl FnOnce(&mut String)) {
        let mut changes = self.changes.iter();
        match changes.find(|change| *change.tag == *key) {
            None => self.quoted(key, write),
            Some(change) => self.changed(change),
        }
    }

    fn quoted(&mut self, key: &str, write: impl FnOnce(&mut String)) {
        if !self.out.is_empty() {
            self.out.push(',');
        }
        self.out.push_str(key);
        self.out.push_str("=\"");
        write(self.out);
        self.out.push('"');
    }

    fn text(&mut self, key: &str, value: &str) {
        self.put(key, |out| escape(out, value));
    }

    /// A tag as an expression makes it, or no tag. What fails is unknown (Istio).
    fn changed(&mut self, change: &TagChange) {
        let value = match &change.value {
            TagOverride::Removed => return,
            TagOverride::Unknown => None,
            TagOverride::Of(program) => program
                .evaluate(&attributes::Of(self.info))
                .and_then(meltemi_cel::Value::into_text),
        };
        let value = value.as_deref().unwrap_or(UNKNOWN);
        let mut end = value.len().min(MAX_VALUE);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        self.quoted(&change.tag, |out| escape(out, &value[..end]));
    }

    /// Tags that are not standard ones.
    fn added(&mut self) {
        for change in self.changes.iter().filter(|change| !change.standard) {
            self.changed(change);
        }
    }

    fn party(&mut self, tags: &[&str; 8], party: &Party<'_>) {
        let field = |get: fn(&Workload) -> &str| party.workload.map_or("", get);
        let values = [
            field(|w| &w.name),
            field(|w| &w.namespace),
            party.principal,
            or(party.app, field(|w| &w.canonical_name)),
            or(party.version, field(|w| &w.canonical_revision)),
            field(|w| &w.canonical_name),
            or(field(|w| &w.canonical_revision), "latest"),
            field(|w| &w.cluster),
        ];
        for (tag, value) in tags.iter().zip(values) {
            self.text(tag, or(value, UNKNOWN));
        }
    }

    /// The destination service: the cluster's Istio metadata, else the host asked for.
    fn service(&mut self) {
        let cluster = self.info.cluster.as_ref();
        let service = cluster.and_then(|c| c.service.as_ref());
        let (host, name, namespace) = match service {
            Some(service) => (&*service.host, &*service.name, &*service.namespace),
            None => {
                let name = cluster.map_or(UNKNOWN, |c| &*c.name);
                // An arbitrary host name asked for must not become a label.
                (name, name, UNKNOWN)
            }
        };
        self.text("destination_service", host);
        self.text("destination_service_name", name);
        self.text("destination_service_namespace", namespace);
    }
}

fn or<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
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
