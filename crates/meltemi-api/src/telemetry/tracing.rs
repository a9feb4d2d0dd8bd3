//! Traces.

use std::collections::BTreeMap;

use super::{ProviderRef, TelemetryMode};
use crate::proto::message;

message! {
    /// Tracing (Istio: `Tracing`). Fields that are absent are inherited from the wider scope.
    pub struct Tracing {
        /// Which traffic.
        pub r#match: Option<TracingSelector>,
        /// Where spans go; at most one.
        pub providers: Vec<ProviderRef>,
        /// Percent of requests, 0.00 to 100.00, for which a trace is begun.
        pub random_sampling_percentage: Option<f64>,
        /// No spans are sent; the context is still passed on.
        pub disable_span_reporting: Option<bool>,
        /// Tags of spans, by name.
        pub custom_tags: BTreeMap<String, CustomTag>,
        /// Sample by the request id; true by default.
        pub use_request_id_for_trace_sampling: Option<bool>,
        /// Istio's own tags; true by default.
        pub enable_istio_tags: Option<bool>,
        /// The context is not passed on.
        pub disable_context_propagation: Option<bool>,
    }

    /// Which traffic (Istio: `Tracing.TracingSelector`).
    pub struct TracingSelector {
        /// Side of the connection.
        pub mode: TelemetryMode,
    }

    /// Where a tag's value comes from: one of the four (Istio: `Tracing.CustomTag`).
    pub struct CustomTag {
        /// A fixed value.
        pub literal: Option<LiteralTag>,
        /// A variable of the proxy's environment.
        pub environment: Option<EnvironmentTag>,
        /// A request header.
        pub header: Option<HeaderTag>,
        /// A format string of the access log.
        pub formatter: Option<FormatterTag>,
    }

    /// A fixed value.
    pub struct LiteralTag {
        /// Value.
        pub value: String,
    }

    /// A variable of the proxy's environment.
    pub struct EnvironmentTag {
        /// Its name.
        pub name: String,
        /// Used when it is not set.
        pub default_value: String,
    }

    /// A request header.
    pub struct HeaderTag {
        /// Its name.
        pub name: String,
        /// Used when it is absent.
        pub default_value: String,
    }

    /// A format string of the access log.
    pub struct FormatterTag {
        /// For example `%REQ(:METHOD)%`.
        pub value: String,
    }
}
