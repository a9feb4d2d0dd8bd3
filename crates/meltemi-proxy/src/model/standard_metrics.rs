//! Which of Istio's standard metrics are told, and with which tags.

use meltemi_cel::Program;

/// `stats.PluginConfig`.
pub struct StandardMetrics {
    /// Metrics with the same tags; what is in none is not told.
    pub groups: Box<[MetricGroup]>,
    /// A tag may be made of the request's head.
    pub reads_head: bool,
    /// A tag is made of headers.
    pub reads_headers: bool,
    /// A tag is made of trailers.
    pub reads_trailers: bool,
}

pub struct MetricGroup {
    /// One bit a [`Metric`].
    pub metrics: u16,
    /// In order of tags.
    pub changes: Box<[TagChange]>,
}

pub struct TagChange {
    pub tag: Box<str>,
    /// One of Istio's, not one beside them.
    pub standard: bool,
    pub value: TagOverride,
}

pub enum TagOverride {
    Removed,
    /// The expression cannot be evaluated.
    Unknown,
    Of(Box<Program>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Requests,
    Duration,
    RequestBytes,
    ResponseBytes,
    RequestMessages,
    ResponseMessages,
    TcpOpened,
    TcpClosed,
    TcpSent,
    TcpReceived,
}

impl Metric {
    /// In the order of their bits, with Istio's names but for `istio_`.
    pub const ALL: [(Metric, &str); 10] = [
        (Metric::Requests, "requests_total"),
        (Metric::Duration, "request_duration_milliseconds"),
        (Metric::RequestBytes, "request_bytes"),
        (Metric::ResponseBytes, "response_bytes"),
        (Metric::RequestMessages, "request_messages_total"),
        (Metric::ResponseMessages, "response_messages_total"),
        (Metric::TcpOpened, "tcp_connections_opened_total"),
        (Metric::TcpClosed, "tcp_connections_closed_total"),
        (Metric::TcpSent, "tcp_sent_bytes_total"),
        (Metric::TcpReceived, "tcp_received_bytes_total"),
    ];

    pub const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl MetricGroup {
    pub fn tells(&self, metric: Metric) -> bool {
        self.metrics & metric.bit() != 0
    }
}
