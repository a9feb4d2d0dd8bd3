//! The legacy tracing settings of ProxyConfig.

use std::collections::BTreeMap;

use crate::networking::ClientTlsSettings;
use crate::proto::{enumeration, lenient_i64, message};

message! {
    /// Tracing (`istio.mesh.v1alpha1.Tracing`): at most one tracer.
    pub struct Tracing {
        /// Zipkin.
        pub zipkin: Option<TracerAddress>,
        /// Deprecated.
        pub lightstep: Option<LightstepTracer>,
        /// Datadog.
        pub datadog: Option<TracerAddress>,
        /// Stackdriver.
        pub stackdriver: Option<StackdriverTracer>,
        /// OpenCensus agent.
        pub open_census_agent: Option<OpenCensusAgentTracer>,
        /// Tags of all spans.
        pub custom_tags: BTreeMap<String, TracingCustomTag>,
        /// Length at which the path is cut; 256 by default.
        pub max_path_tag_length: u32,
        /// Percent of requests traced; 1.0 by default.
        pub sampling: Option<f64>,
        /// TLS to the tracer.
        pub tls_settings: Option<ClientTlsSettings>,
        /// Deprecated tags Istio adds.
        pub enable_istio_tags: Option<bool>,
    }

    /// A tracer that only has an address.
    pub struct TracerAddress {
        /// `host:port`.
        pub address: String,
    }

    /// Lightstep.
    pub struct LightstepTracer {
        /// `host:port`.
        pub address: String,
        /// Token.
        pub access_token: String,
    }

    /// Stackdriver.
    pub struct StackdriverTracer {
        /// Trace to standard output.
        pub debug: bool,
        /// Bound on attributes of a span.
        #[serde(deserialize_with = "lenient_i64")]
        pub max_number_of_attributes: Option<i64>,
        /// Bound on annotations of a span.
        #[serde(deserialize_with = "lenient_i64")]
        pub max_number_of_annotations: Option<i64>,
        /// Bound on message events of a span.
        #[serde(deserialize_with = "lenient_i64")]
        pub max_number_of_message_events: Option<i64>,
    }

    /// OpenCensus agent.
    pub struct OpenCensusAgentTracer {
        /// gRPC address.
        pub address: String,
        /// Propagation headers.
        pub context: Vec<TraceContext>,
    }

    /// A tag: one of the three.
    pub struct TracingCustomTag {
        /// Fixed value.
        pub literal: Option<TagLiteral>,
        /// From the proxy's environment.
        pub environment: Option<TagSource>,
        /// From a request header.
        pub header: Option<TagSource>,
    }

    /// A fixed value.
    pub struct TagLiteral {
        /// Value.
        pub value: String,
    }

    /// A value by name.
    pub struct TagSource {
        /// Name of the variable or header.
        pub name: String,
        /// Used when it is absent.
        pub default_value: String,
    }
}

enumeration! {
    /// Propagation headers of OpenCensus.
    pub enum TraceContext {
        /// Not to be used.
        Unspecified = "UNSPECIFIED",
        /// `traceparent`.
        W3c = "W3C_TRACE_CONTEXT",
        /// `grpc-trace-bin`.
        GrpcBin = "GRPC_BIN",
        /// `X-Cloud-Trace-Context`.
        CloudTrace = "CLOUD_TRACE_CONTEXT",
        /// `X-B3-*`.
        B3 = "B3",
    }
}
