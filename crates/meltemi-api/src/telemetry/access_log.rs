//! Access logs.

use super::{ProviderRef, TelemetryMode};
use crate::proto::message;

message! {
    /// Access logging (Istio: `AccessLogging`).
    pub struct AccessLogging {
        /// Which traffic.
        pub r#match: Option<LogSelector>,
        /// Where lines go; all of them.
        pub providers: Vec<ProviderRef>,
        /// Off, or on again.
        pub disabled: Option<bool>,
        /// Which requests.
        pub filter: Option<LogFilter>,
    }

    /// Which traffic (Istio: `AccessLogging.LogSelector`).
    pub struct LogSelector {
        /// Side of the connection.
        pub mode: TelemetryMode,
    }

    /// Which requests (Istio: `AccessLogging.Filter`).
    pub struct LogFilter {
        /// CEL expression, for example `response.code >= 400`.
        pub expression: String,
    }
}
