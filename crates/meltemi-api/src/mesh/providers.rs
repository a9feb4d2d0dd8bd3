//! Extension providers of MeshConfig (`MeshConfig.ExtensionProvider`).

use std::collections::BTreeMap;

use crate::proto::{Duration, enumeration, lenient_i64, message};

message! {
    /// A provider: a name and exactly one of the others.
    pub struct ExtensionProvider {
        /// Name that policies use.
        pub name: String,
        /// External authorization over HTTP.
        pub envoy_ext_authz_http: Option<ExtAuthzHttp>,
        /// External authorization over gRPC.
        pub envoy_ext_authz_grpc: Option<ExtAuthzGrpc>,
        /// Zipkin tracing.
        pub zipkin: Option<ZipkinProvider>,
        /// Deprecated Lightstep tracing.
        pub lightstep: Option<LightstepProvider>,
        /// Datadog tracing.
        pub datadog: Option<TracingServiceProvider>,
        /// Stackdriver.
        pub stackdriver: Option<StackdriverProvider>,
        /// Deprecated OpenCensus tracing.
        pub opencensus: Option<OpenCensusProvider>,
        /// SkyWalking tracing.
        pub skywalking: Option<SkyWalkingProvider>,
        /// OpenTelemetry tracing.
        pub opentelemetry: Option<OpenTelemetryProvider>,
        /// Prometheus metrics.
        pub prometheus: Option<PrometheusProvider>,
        /// Access log to a file.
        pub envoy_file_access_log: Option<FileAccessLogProvider>,
        /// Access log over gRPC, HTTP.
        pub envoy_http_als: Option<HttpAlsProvider>,
        /// Access log over gRPC, TCP.
        pub envoy_tcp_als: Option<TcpAlsProvider>,
        /// Access log over OpenTelemetry.
        pub envoy_otel_als: Option<OtelAlsProvider>,
        /// Secrets over SDS.
        pub sds: Option<SdsProvider>,
    }

    /// How much of the body external authorization sees.
    pub struct ExtAuthzRequestBody {
        /// Bound, bytes.
        pub max_request_bytes: u32,
        /// Send what fits.
        pub allow_partial_message: bool,
        /// As bytes instead of text.
        pub pack_as_bytes: bool,
    }

    /// External authorization over HTTP.
    pub struct ExtAuthzHttp {
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
        /// Deadline; 600 s.
        pub timeout: Option<Duration>,
        /// Prefix of the path.
        pub path_prefix: String,
        /// Allow when it fails.
        pub fail_open: bool,
        /// Forget the route when headers change.
        pub clear_route_cache: Option<bool>,
        /// Status when it fails; 403.
        pub status_on_error: String,
        /// Deprecated.
        pub include_headers_in_check: Vec<String>,
        /// Headers sent to it.
        pub include_request_headers_in_check: Vec<String>,
        /// Headers added for it.
        pub include_additional_headers_in_check: BTreeMap<String, String>,
        /// Body sent to it.
        pub include_request_body_in_check: Option<ExtAuthzRequestBody>,
        /// Headers of the answer that go upstream.
        pub headers_to_upstream_on_allow: Vec<String>,
        /// Headers of the answer that go downstream when denied.
        pub headers_to_downstream_on_deny: Vec<String>,
        /// Headers of the answer that go downstream when allowed.
        pub headers_to_downstream_on_allow: Vec<String>,
        /// Retries.
        pub retry_policy: Option<ProviderRetryPolicy>,
    }

    /// External authorization over gRPC.
    pub struct ExtAuthzGrpc {
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
        /// Deadline; 600 s.
        pub timeout: Option<Duration>,
        /// Allow when it fails.
        pub fail_open: bool,
        /// Forget the route when headers change.
        pub clear_route_cache: Option<bool>,
        /// Status when it fails; 403.
        pub status_on_error: String,
        /// Body sent to it.
        pub include_request_body_in_check: Option<ExtAuthzRequestBody>,
        /// Retries.
        pub retry_policy: Option<ProviderRetryPolicy>,
    }

    /// Retries of a provider's calls.
    pub struct ProviderRetryPolicy {
        /// How many.
        pub num_retries: Option<u32>,
        /// Conditions.
        pub retry_on: String,
        /// Back-off.
        pub retry_back_off: Option<ProviderBackoff>,
    }

    /// Back-off of a provider's retries.
    pub struct ProviderBackoff {
        /// First interval.
        pub base_interval: Option<Duration>,
        /// Longest interval.
        pub max_interval: Option<Duration>,
    }

    /// Zipkin.
    pub struct ZipkinProvider {
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
        /// Longest path in a tag.
        pub max_tag_length: u32,
        /// 64-bit trace ids.
        #[serde(rename = "enable64bitTraceId")]
        pub enable_64bit_trace_id: bool,
        /// Path of the collector; `/api/v2/spans`.
        pub path: String,
        /// Which headers carry the context.
        pub trace_context_option: ZipkinTraceContextOption,
        /// Deadline.
        pub timeout: Option<Duration>,
        /// Headers added.
        pub headers: Vec<ProviderHeader>,
    }

    /// Lightstep.
    pub struct LightstepProvider {
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
        /// Token.
        pub access_token: String,
        /// Longest path in a tag.
        pub max_tag_length: u32,
    }

    /// A tracing service without further settings.
    pub struct TracingServiceProvider {
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
        /// Longest path in a tag.
        pub max_tag_length: u32,
    }

    /// SkyWalking.
    pub struct SkyWalkingProvider {
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
        /// Token.
        pub access_token: String,
    }

    /// Stackdriver.
    pub struct StackdriverProvider {
        /// Deprecated.
        pub debug: bool,
        /// Deprecated.
        #[serde(deserialize_with = "lenient_i64")]
        pub max_number_of_attributes: Option<i64>,
        /// Deprecated.
        #[serde(deserialize_with = "lenient_i64")]
        pub max_number_of_annotations: Option<i64>,
        /// Deprecated.
        #[serde(deserialize_with = "lenient_i64")]
        pub max_number_of_message_events: Option<i64>,
        /// Longest path in a tag.
        pub max_tag_length: u32,
        /// Labels of log entries.
        pub logging: Option<StackdriverLogging>,
    }

    /// Labels of log entries.
    pub struct StackdriverLogging {
        /// Label to CEL expression.
        pub labels: BTreeMap<String, String>,
    }

    /// OpenCensus.
    pub struct OpenCensusProvider {
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
        /// Propagation headers.
        pub context: Vec<super::TraceContext>,
        /// Longest path in a tag.
        pub max_tag_length: u32,
    }

    /// OpenTelemetry tracing.
    pub struct OpenTelemetryProvider {
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
        /// Longest path in a tag.
        pub max_tag_length: u32,
        /// Over HTTP instead of gRPC.
        pub http: Option<OtelHttpService>,
        /// gRPC settings.
        pub grpc: Option<OtelGrpcService>,
        /// Attributes of the resource.
        pub resource_detectors: Option<ResourceDetectors>,
        /// Sampling by Dynatrace.
        pub dynatrace_sampler: Option<DynatraceSampler>,
        /// Where the service's name comes from.
        pub service_attribute_enrichment: ServiceAttributeEnrichment,
    }

    /// Over HTTP.
    pub struct OtelHttpService {
        /// Path.
        pub path: String,
        /// Deadline; 3 s.
        pub timeout: Option<Duration>,
        /// Headers added.
        pub headers: Vec<ProviderHeader>,
    }

    /// Over gRPC.
    pub struct OtelGrpcService {
        /// Deadline.
        pub timeout: Option<Duration>,
        /// Metadata added.
        pub initial_metadata: Vec<ProviderHeader>,
    }

    /// A header with a value from here or from the environment.
    pub struct ProviderHeader {
        /// Name.
        pub name: String,
        /// Value.
        pub value: Option<String>,
        /// Variable that holds the value.
        pub env_name: Option<String>,
    }

    /// Attributes of the resource.
    pub struct ResourceDetectors {
        /// From the environment.
        pub environment: Option<EmptyMessage>,
        /// From Dynatrace.
        pub dynatrace: Option<EmptyMessage>,
    }

    /// A message without fields; present or not.
    pub struct EmptyMessage {
    }

    /// Sampling by Dynatrace.
    pub struct DynatraceSampler {
        /// Tenant.
        pub tenant: String,
        /// Cluster.
        pub cluster_id: i32,
        /// Spans a minute.
        pub root_spans_per_minute: u32,
        /// Where the rate is fetched.
        pub http_service: Option<DynatraceApi>,
    }

    /// Dynatrace's API.
    pub struct DynatraceApi {
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
        /// Request.
        pub http: Option<OtelHttpService>,
    }

    /// Prometheus: no settings.
    pub struct PrometheusProvider {
    }

    /// Access log to a file.
    pub struct FileAccessLogProvider {
        /// Path; `/dev/stdout`.
        pub path: String,
        /// Format.
        pub log_format: Option<FileLogFormat>,
        /// Leave out fields without value.
        pub omit_empty_values: bool,
    }

    /// Format of a log: one of the two.
    pub struct FileLogFormat {
        /// Text with Envoy's command operators.
        pub text: Option<String>,
        /// JSON with Envoy's command operators.
        pub labels: Option<serde_json::Value>,
    }

    /// Access log over gRPC, HTTP.
    pub struct HttpAlsProvider {
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
        /// Name of the log.
        pub log_name: String,
        /// Objects of the filter state.
        pub filter_state_objects_to_log: Vec<String>,
        /// Request headers.
        pub additional_request_headers_to_log: Vec<String>,
        /// Response headers.
        pub additional_response_headers_to_log: Vec<String>,
        /// Response trailers.
        pub additional_response_trailers_to_log: Vec<String>,
    }

    /// Access log over gRPC, TCP.
    pub struct TcpAlsProvider {
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
        /// Name of the log.
        pub log_name: String,
        /// Objects of the filter state.
        pub filter_state_objects_to_log: Vec<String>,
    }

    /// Access log over OpenTelemetry.
    pub struct OtelAlsProvider {
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
        /// Name of the log.
        pub log_name: String,
        /// Format.
        pub log_format: Option<OtelLogFormat>,
        /// Objects of the filter state.
        pub filter_state_objects_to_log: Vec<String>,
    }

    /// Format of an OpenTelemetry log.
    pub struct OtelLogFormat {
        /// Body.
        pub text: String,
        /// Attributes.
        pub labels: Option<serde_json::Value>,
    }

    /// Secrets over SDS.
    pub struct SdsProvider {
        /// Name in credential names, `sds://NAME`.
        pub name: String,
        /// `[namespace/]host`.
        pub service: String,
        /// Port.
        pub port: u32,
    }
}

enumeration! {
    /// Which headers carry a Zipkin context.
    pub enum ZipkinTraceContextOption {
        /// B3.
        UseB3 = "USE_B3",
        /// B3 written, B3 and W3C read.
        UseB3WithW3c = "USE_B3_WITH_W3C_PROPAGATION",
    }

    /// Where the service's name in traces comes from.
    pub enum ServiceAttributeEnrichment {
        /// Istio's canonical service.
        IstioCanonical = "ISTIO_CANONICAL",
        /// OpenTelemetry's conventions.
        OtelSemanticConventions = "OTEL_SEMANTIC_CONVENTIONS",
    }
}
