//! Metrics.

use std::collections::BTreeMap;

use super::{ProviderRef, TelemetryMode};
use crate::proto::{Duration, enumeration, message};

message! {
    /// Metrics (Istio: `Metrics`).
    pub struct Metrics {
        /// Where they go.
        pub providers: Vec<ProviderRef>,
        /// Changes, applied in order.
        pub overrides: Vec<MetricsOverride>,
        /// Time between reports of TCP metrics; 5 s by default.
        pub reporting_interval: Option<Duration>,
    }

    /// A change to some metrics (Istio: `MetricsOverrides`).
    pub struct MetricsOverride {
        /// Which; all when absent.
        pub r#match: Option<MetricSelector>,
        /// Off, or on again.
        pub disabled: Option<bool>,
        /// Changes to tags, by name.
        pub tag_overrides: BTreeMap<String, TagOverride>,
    }

    /// Which metrics (Istio: `MetricSelector`): at most one of the two names.
    pub struct MetricSelector {
        /// One of Istio's.
        pub metric: Option<IstioMetric>,
        /// One of the user's.
        pub custom_metric: Option<String>,
        /// Side of the connection.
        pub mode: TelemetryMode,
    }

    /// A change to a tag (Istio: `MetricsOverrides.TagOverride`).
    pub struct TagOverride {
        /// What happens to it.
        pub operation: TagOperation,
        /// CEL expression of its value; for UPSERT.
        pub value: Option<String>,
    }
}

enumeration! {
    /// What happens to a tag.
    pub enum TagOperation {
        /// Added or replaced.
        Upsert = "UPSERT",
        /// Removed.
        Remove = "REMOVE",
    }

    /// Istio's metrics (Istio: `MetricSelector.IstioMetric`).
    pub enum IstioMetric {
        /// All of them.
        All = "ALL_METRICS",
        /// `istio_requests_total`.
        RequestCount = "REQUEST_COUNT",
        /// `istio_request_duration_milliseconds`.
        RequestDuration = "REQUEST_DURATION",
        /// `istio_request_bytes`.
        RequestSize = "REQUEST_SIZE",
        /// `istio_response_bytes`.
        ResponseSize = "RESPONSE_SIZE",
        /// `istio_tcp_connections_opened_total`.
        TcpOpenedConnections = "TCP_OPENED_CONNECTIONS",
        /// `istio_tcp_connections_closed_total`.
        TcpClosedConnections = "TCP_CLOSED_CONNECTIONS",
        /// `istio_tcp_sent_bytes_total`.
        TcpSentBytes = "TCP_SENT_BYTES",
        /// `istio_tcp_received_bytes_total`.
        TcpReceivedBytes = "TCP_RECEIVED_BYTES",
        /// `istio_request_messages_total`.
        GrpcRequestMessages = "GRPC_REQUEST_MESSAGES",
        /// `istio_response_messages_total`.
        GrpcResponseMessages = "GRPC_RESPONSE_MESSAGES",
    }
}
