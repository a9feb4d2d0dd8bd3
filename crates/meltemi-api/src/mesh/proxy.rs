//! ProxyConfig (`istio.mesh.v1alpha1.ProxyConfig`): settings of one proxy, mesh-wide in
//! `MeshConfig.defaultConfig`, per pod in the annotation `proxy.istio.io/config`.

use std::collections::BTreeMap;

use super::{ConnectionSettings, Tracing};
use crate::networking::{ClientTlsSettings, ReadinessProbe, TcpKeepalive};
use crate::proto::{Duration, enumeration, message};

message! {
    /// Settings of a proxy. Fields that are absent have Istio's defaults.
    pub struct ProxyConfig {
        /// Directory of generated files.
        pub config_path: String,
        /// Path of the proxy.
        pub binary_path: String,
        /// Envoy's cluster name; excludes `tracingServiceName`.
        pub service_cluster: Option<String>,
        /// Scheme of the cluster name; excludes `serviceCluster`.
        pub tracing_service_name: Option<TracingServiceName>,
        /// Time over which connections are drained; 45 s.
        pub drain_duration: Option<Duration>,
        /// Deprecated.
        pub parent_shutdown_duration: Option<Duration>,
        /// xDS server; `istiod.istio-system.svc:15012`.
        pub discovery_address: String,
        /// Deprecated.
        pub discovery_refresh_delay: Option<Duration>,
        /// Deprecated.
        pub zipkin_address: String,
        /// statsd over UDP, `host:port`.
        pub statsd_udp_address: String,
        /// Deprecated.
        pub envoy_metrics_service_address: String,
        /// Admin port; 15000.
        pub proxy_admin_port: Option<i32>,
        /// Deprecated.
        pub availability_zone: String,
        /// How the proxy authenticates to the control plane.
        pub control_plane_auth_policy: Option<AuthenticationPolicy>,
        /// Bootstrap supplied by the user.
        pub custom_config_file: String,
        /// Longest name of a statistic; 189.
        pub stat_name_length: i32,
        /// Worker threads; 2, 0 is one a core.
        pub concurrency: Option<i32>,
        /// Template of the bootstrap.
        pub proxy_bootstrap_template_path: String,
        /// How inbound traffic is captured.
        pub interception_mode: InboundInterceptionMode,
        /// Tracing.
        pub tracing: Option<Tracing>,
        /// Deprecated.
        pub sds: Option<Sds>,
        /// gRPC access log service.
        pub envoy_access_log_service: Option<RemoteService>,
        /// gRPC metrics service.
        pub envoy_metrics_service: Option<RemoteService>,
        /// Environment of the proxy.
        pub proxy_metadata: BTreeMap<String, String>,
        /// Envoy's runtime.
        pub runtime_values: BTreeMap<String, String>,
        /// Health and merged metrics; 15020.
        pub status_port: Option<i32>,
        /// Further labels of metrics.
        pub extra_stat_tags: Vec<String>,
        /// Proxies in front of a gateway.
        pub gateway_topology: Option<Topology>,
        /// Time for connections to end at shutdown; 5 s.
        pub termination_drain_duration: Option<Duration>,
        /// Mesh id; the trust domain.
        pub mesh_id: String,
        /// Readiness of a virtual machine's workload.
        pub readiness_probe: Option<ReadinessProbe>,
        /// Further statistics.
        pub proxy_stats_matcher: Option<ProxyStatsMatcher>,
        /// Applications wait for the proxy; false.
        pub hold_application_until_proxy_starts: Option<bool>,
        /// Further roots of trust, PEM.
        pub ca_certificates_pem: Vec<String>,
        /// Image of the proxy.
        pub image: Option<ProxyImage>,
        /// Hardware for private keys.
        pub private_key_provider: Option<PrivateKeyProvider>,
        /// Headers the proxy adds.
        pub proxy_headers: Option<ProxyHeaders>,
        /// Limits of connections.
        pub connection_settings: Option<ConnectionSettings>,
        /// Time after which the access log is flushed; 1 s.
        pub file_flush_interval: Option<Duration>,
        /// Size after which the access log is flushed, KB.
        pub file_flush_min_size_kb: Option<u32>,
        /// Compress `/stats/prometheus`; true.
        pub stats_compression: Option<bool>,
    }

    /// Deprecated secret discovery.
    pub struct Sds {
        /// On.
        pub enabled: bool,
        /// Path of the service account's token.
        pub k8s_sa_jwt_path: String,
    }

    /// A service the proxy reports to.
    pub struct RemoteService {
        /// `host:port`.
        pub address: String,
        /// TLS to it.
        pub tls_settings: Option<ClientTlsSettings>,
        /// Keep-alive.
        pub tcp_keepalive: Option<TcpKeepalive>,
    }

    /// Proxies in front of a gateway.
    pub struct Topology {
        /// How many of them are trusted.
        pub num_trusted_proxies: u32,
        /// Treatment of `x-forwarded-client-cert`.
        pub forward_client_cert_details: ForwardClientCertDetails,
        /// Expect the PROXY protocol.
        pub proxy_protocol: Option<ProxyProtocolConfiguration>,
    }

    /// The PROXY protocol at a gateway; on when present.
    pub struct ProxyProtocolConfiguration {
    }

    /// Statistics kept beyond the usual ones.
    pub struct ProxyStatsMatcher {
        /// By prefix.
        pub inclusion_prefixes: Vec<String>,
        /// By suffix.
        pub inclusion_suffixes: Vec<String>,
        /// By expression.
        pub inclusion_regexps: Vec<String>,
    }

    /// Image of the proxy.
    pub struct ProxyImage {
        /// `default`, `debug`, `distroless`.
        pub image_type: String,
    }

    /// Hardware for private keys: one of the two.
    pub struct PrivateKeyProvider {
        /// Intel CryptoMB.
        pub cryptomb: Option<KeyProviderSettings>,
        /// Intel QAT.
        pub qat: Option<KeyProviderSettings>,
    }

    /// Settings of a private key provider.
    pub struct KeyProviderSettings {
        /// Time a queue may wait.
        pub poll_delay: Option<Duration>,
        /// Fall back to software.
        pub fallback: Option<bool>,
    }

    /// Headers the proxy adds (`ProxyConfig.ProxyHeaders`).
    pub struct ProxyHeaders {
        /// `x-forwarded-client-cert`.
        pub forwarded_client_cert: ForwardClientCertDetails,
        /// Which parts of the client's certificate are sent.
        pub set_current_client_cert_details: Option<SetCurrentClientCertDetails>,
        /// `x-request-id`.
        pub request_id: Option<HeaderSwitch>,
        /// `server`.
        pub server: Option<ServerHeader>,
        /// `x-envoy-attempt-count`.
        pub attempt_count: Option<HeaderSwitch>,
        /// `x-envoy-*` debugging headers.
        pub envoy_debug_headers: Option<HeaderSwitch>,
        /// Metadata exchange headers.
        pub metadata_exchange_headers: Option<MetadataExchangeHeaders>,
        /// Keep the case of HTTP/1.1 header names.
        pub preserve_http1_header_case: Option<bool>,
        /// `x-forwarded-host`.
        pub x_forwarded_host: Option<HeaderSwitch>,
        /// `x-forwarded-port`.
        pub x_forwarded_port: Option<HeaderSwitch>,
    }

    /// A header that can be switched off.
    pub struct HeaderSwitch {
        /// Off.
        pub disabled: Option<bool>,
        /// On.
        pub enabled: Option<bool>,
    }

    /// `server`.
    pub struct ServerHeader {
        /// Off.
        pub disabled: Option<bool>,
        /// Its value.
        pub value: String,
    }

    /// Metadata exchange headers.
    pub struct MetadataExchangeHeaders {
        /// Where they are sent.
        pub mode: MetadataExchangeMode,
    }

    /// Which parts of the client's certificate are sent.
    pub struct SetCurrentClientCertDetails {
        /// Subject.
        pub subject: Option<bool>,
        /// Certificate.
        pub cert: Option<bool>,
        /// Chain.
        pub chain: Option<bool>,
        /// DNS names.
        pub dns: Option<bool>,
        /// URIs.
        pub uri: Option<bool>,
    }
}

enumeration! {
    /// Scheme of Envoy's cluster name.
    pub enum TracingServiceName {
        /// `app.namespace`.
        AppLabelAndNamespace = "APP_LABEL_AND_NAMESPACE",
        /// Canonical name.
        CanonicalNameOnly = "CANONICAL_NAME_ONLY",
        /// Canonical name and namespace.
        CanonicalNameAndNamespace = "CANONICAL_NAME_AND_NAMESPACE",
    }

    /// How the proxy authenticates to the control plane.
    pub enum AuthenticationPolicy {
        /// Not at all.
        None = "NONE",
        /// Mutual TLS.
        MutualTls = "MUTUAL_TLS",
        /// As the wider scope.
        Inherit = "INHERIT",
    }

    /// How inbound traffic is captured.
    pub enum InboundInterceptionMode {
        /// Destination address rewritten.
        Redirect = "REDIRECT",
        /// Addresses kept.
        Tproxy = "TPROXY",
        /// Not captured.
        None = "NONE",
    }

    /// Treatment of `x-forwarded-client-cert`.
    pub enum ForwardClientCertDetails {
        /// Istio's default for the place.
        Undefined = "UNDEFINED",
        /// Removed.
        Sanitize = "SANITIZE",
        /// Kept on mTLS connections.
        ForwardOnly = "FORWARD_ONLY",
        /// Appended to on mTLS connections.
        AppendForward = "APPEND_FORWARD",
        /// Replaced.
        SanitizeSet = "SANITIZE_SET",
        /// Always kept.
        AlwaysForwardOnly = "ALWAYS_FORWARD_ONLY",
    }

    /// Where metadata exchange headers are sent.
    pub enum MetadataExchangeMode {
        /// Everywhere.
        Undefined = "UNDEFINED",
        /// Within the mesh.
        InMesh = "IN_MESH",
    }
}
