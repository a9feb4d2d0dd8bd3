//! The kind of `telemetry.istio.io`: what is measured, traced and logged.

mod access_log;
mod metrics;
mod tracing;

pub use access_log::{AccessLogging, LogFilter, LogSelector};
pub use metrics::{
    IstioMetric, MetricSelector, Metrics, MetricsOverride, TagOperation, TagOverride,
};
pub use tracing::{
    CustomTag, EnvironmentTag, FormatterTag, HeaderTag, LiteralTag, Tracing, TracingSelector,
};

use crate::proto::{enumeration, message};
use crate::scope::{LabelSelector, PolicyTargetReference};

message! {
    /// Telemetry of some workloads (Istio: `Telemetry`).
    pub struct Telemetry {
        /// Workloads; the whole namespace (or mesh, in the root namespace) when absent.
        pub selector: Option<LabelSelector>,
        /// Deprecated form of `targetRefs`.
        pub target_ref: Option<PolicyTargetReference>,
        /// Objects it is attached to; excludes `selector`.
        pub target_refs: Vec<PolicyTargetReference>,
        /// Traces.
        pub tracing: Vec<Tracing>,
        /// Metrics.
        pub metrics: Vec<Metrics>,
        /// Access logs.
        pub access_logging: Vec<AccessLogging>,
    }

    /// A provider of MeshConfig (Istio: `ProviderRef`).
    pub struct ProviderRef {
        /// Its name in `MeshConfig.extensionProviders`.
        pub name: String,
    }
}

enumeration! {
    /// On which side of a connection it applies (Istio telemetry: `WorkloadMode`).
    pub enum TelemetryMode {
        /// Both sides.
        ClientAndServer = "CLIENT_AND_SERVER",
        /// The workload is the client.
        Client = "CLIENT",
        /// The workload is the server.
        Server = "SERVER",
    }
}
