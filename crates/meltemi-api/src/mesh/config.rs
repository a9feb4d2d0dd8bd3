//! MeshConfig (`istio.mesh.v1alpha1.MeshConfig`), as in Istio's `mesh` ConfigMap entry.

use std::collections::BTreeMap;

use super::ProxyConfig;
use crate::k8s;
use crate::networking::{
    ClientTlsSettings, H2UpgradePolicy, HttpRetry, LocalityLoadBalancerSetting, TcpKeepalive,
    TlsProtocol, TrafficPolicy, ZoneAwareLoadBalancerSetting,
};
use crate::proto::{Duration, enumeration, message};

message! {
    /// Settings of the whole mesh. Fields that are absent have Istio's defaults
    /// (`pkg/config/mesh/mesh.go`).
    pub struct MeshConfig {
        /// Port of the outbound listener; 15001.
        pub proxy_listen_port: Option<i32>,
        /// Port of the inbound listener; 15006.
        pub proxy_inbound_listen_port: Option<i32>,
        /// Port of an explicit HTTP proxy; none.
        pub proxy_http_port: i32,
        /// Deadline of connecting; 10 s.
        pub connect_timeout: Option<Duration>,
        /// Idle HBONE connections are closed after this time.
        pub hbone_idle_timeout: Option<Duration>,
        /// How long sniffing waits for bytes; 0 s waits for ever.
        pub protocol_detection_timeout: Option<Duration>,
        /// Keep-alive of upstream connections.
        pub tcp_keepalive: Option<TcpKeepalive>,
        /// Ingress class handled; `istio`.
        pub ingress_class: Option<String>,
        /// Service of the ingress controller; `istio-ingressgateway`.
        pub ingress_service: Option<String>,
        /// Which Ingress objects are handled; STRICT.
        pub ingress_controller_mode: Option<IngressControllerMode>,
        /// Value of the label `istio` of the ingress workloads; `ingressgateway`.
        pub ingress_selector: Option<String>,
        /// Trace spans and request ids; true.
        pub enable_tracing: Option<bool>,
        /// File of the access log; empty disables it.
        pub access_log_file: String,
        /// Format of the access log; Envoy's default when empty.
        pub access_log_format: String,
        /// Encoding of the access log.
        pub access_log_encoding: AccessLogEncoding,
        /// gRPC access log service.
        pub enable_envoy_access_log_service: bool,
        /// No access log of listeners.
        pub disable_envoy_listener_log: bool,
        /// Settings of the proxies.
        pub default_config: Option<ProxyConfig>,
        /// Traffic to unknown destinations; ALLOW_ANY.
        pub outbound_traffic_policy: Option<MeshOutboundTrafficPolicy>,
        /// Where inbound traffic is sent; PASSTHROUGH.
        pub inbound_traffic_policy: Option<InboundTrafficPolicy>,
        /// Sources of configuration.
        pub config_sources: Vec<ConfigSource>,
        /// Automatic mutual TLS; true.
        pub enable_auto_mtls: Option<bool>,
        /// Trust domain; `cluster.local`.
        pub trust_domain: Option<String>,
        /// Other names of the trust domain.
        pub trust_domain_aliases: Vec<String>,
        /// Further roots of trust.
        pub ca_certificates: Vec<CertificateData>,
        /// Visibility of services; `*`.
        pub default_service_export_to: Vec<String>,
        /// Visibility of VirtualServices; `*`.
        pub default_virtual_service_export_to: Vec<String>,
        /// Visibility of DestinationRules; `*`.
        pub default_destination_rule_export_to: Vec<String>,
        /// Namespace whose objects apply to all; `istio-system`.
        pub root_namespace: Option<String>,
        /// Locality weights and failover; enabled.
        pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
        /// Zone-aware balancing.
        pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
        /// Time between DNS queries of STRICT_DNS clusters; 60 s.
        pub dns_refresh_rate: Option<Duration>,
        /// Upgrade of HTTP/1.1 to HTTP/2; DO_NOT_UPGRADE.
        pub h2_upgrade_policy: H2UpgradePolicy,
        /// Pattern of the inbound clusters' statistics names.
        pub inbound_cluster_stat_name: String,
        /// Pattern of the outbound clusters' statistics names.
        pub outbound_cluster_stat_name: String,
        /// Deprecated; certificates issued by the Kubernetes CA.
        pub certificates: Vec<Certificate>,
        /// Settings of services by host.
        pub service_settings: Vec<ServiceSettings>,
        /// Scope of services by labels (ambient multicluster).
        pub service_scope_configs: Vec<ServiceScopeConfig>,
        /// Merge the application's metrics into the proxy's; true.
        pub enable_prometheus_merge: Option<bool>,
        /// Deprecated.
        pub verify_certificate_at_client: Option<bool>,
        /// External CA.
        pub ca: Option<Ca>,
        /// Providers that Telemetry and AuthorizationPolicy name.
        pub extension_providers: Vec<super::ExtensionProvider>,
        /// Providers used when nothing names one.
        pub default_providers: Option<DefaultProviders>,
        /// Namespaces considered; all when empty.
        pub discovery_selectors: Vec<k8s::LabelSelector>,
        /// Normalization of paths before policies.
        pub path_normalization: Option<PathNormalization>,
        /// Retries where a rule names none.
        pub default_http_retry_policy: Option<HttpRetry>,
        /// Retries of inbound requests where nothing names any.
        pub default_inbound_http_retry_policy: Option<HttpRetry>,
        /// TLS between workloads.
        #[serde(rename = "meshMTLS")]
        pub mesh_mtls: Option<TlsConfig>,
        /// TLS apart from that between workloads.
        pub tls_defaults: Option<TlsConfig>,
        /// Policies where no DestinationRule has any.
        pub default_traffic_policy: Option<TrafficPolicy>,
        /// Which ServiceEntries clients see.
        pub service_entry_visibility: Option<ServiceEntryVisibility>,
    }

    /// Traffic to unknown destinations.
    pub struct MeshOutboundTrafficPolicy {
        /// Mode.
        pub mode: MeshOutboundTrafficPolicyMode,
        /// TLS used with ALLOW_ANY_DYNAMIC_DNS.
        pub tls: Option<ClientTlsSettings>,
    }

    /// Where inbound traffic is sent.
    pub struct InboundTrafficPolicy {
        /// Mode.
        pub mode: InboundTrafficPolicyMode,
    }

    /// A source of configuration.
    pub struct ConfigSource {
        /// `fs:///path`, `xds://host:port`, `k8s://`.
        pub address: String,
        /// TLS to it.
        pub tls_settings: Option<ClientTlsSettings>,
        /// Kinds subscribed to.
        pub subscribed_resources: Vec<ConfigResource>,
    }

    /// A root of trust: one of the two.
    pub struct CertificateData {
        /// PEM text.
        pub pem: Option<String>,
        /// SPIFFE bundle endpoint.
        pub spiffe_bundle_url: Option<String>,
        /// Kubernetes signers it belongs to.
        pub cert_signers: Vec<String>,
        /// Trust domains it belongs to.
        pub trust_domains: Vec<String>,
    }

    /// Deprecated DNS certificate.
    pub struct Certificate {
        /// Secret.
        pub secret_name: String,
        /// Names.
        pub dns_names: Vec<String>,
    }

    /// Settings of services.
    pub struct ServiceSettings {
        /// Settings.
        pub settings: Option<ServiceSettingsValues>,
        /// Services: FQDNs, `*.` wildcards, namespace wildcards.
        pub hosts: Vec<String>,
    }

    /// Settings of a service.
    pub struct ServiceSettingsValues {
        /// Only endpoints of the client's cluster.
        pub cluster_local: bool,
    }

    /// Scope of services.
    pub struct ServiceScopeConfig {
        /// Namespaces by label.
        pub namespace_selector: Option<k8s::LabelSelector>,
        /// Services by label.
        pub services_selector: Option<k8s::LabelSelector>,
        /// Scope.
        pub scope: ServiceScope,
    }

    /// External CA.
    pub struct Ca {
        /// Address.
        pub address: String,
        /// TLS to it.
        pub tls_settings: Option<ClientTlsSettings>,
        /// Deadline of a request; 10 s.
        pub request_timeout: Option<Duration>,
        /// Speak from the control plane, not from the agents.
        pub istiod_side: bool,
    }

    /// Providers used when nothing names one.
    pub struct DefaultProviders {
        /// Tracing.
        pub tracing: Vec<String>,
        /// Metrics.
        pub metrics: Vec<String>,
        /// Access logs.
        pub access_logging: Vec<String>,
    }

    /// Normalization of paths.
    pub struct PathNormalization {
        /// Kind.
        pub normalization: PathNormalizationType,
    }

    /// TLS parameters.
    pub struct TlsConfig {
        /// Lowest version.
        pub min_protocol_version: TlsProtocol,
        /// Key exchange groups.
        pub ecdh_curves: Vec<String>,
        /// Cipher suites.
        pub cipher_suites: Vec<String>,
    }

    /// Which ServiceEntries clients see.
    pub struct ServiceEntryVisibility {
        /// Rules.
        pub rules: Vec<BTreeMap<String, serde_json::Value>>,
    }
}

enumeration! {
    /// Which Ingress objects are handled.
    pub enum IngressControllerMode {
        /// As STRICT.
        Unspecified = "UNSPECIFIED",
        /// None.
        Off = "OFF",
        /// Those of the class and those without class.
        Default = "DEFAULT",
        /// Those of the class.
        Strict = "STRICT",
    }

    /// Encoding of the access log.
    pub enum AccessLogEncoding {
        /// Text.
        Text = "TEXT",
        /// JSON.
        Json = "JSON",
    }

    /// What happens to traffic for unknown destinations.
    pub enum MeshOutboundTrafficPolicyMode {
        /// Dropped.
        RegistryOnly = "REGISTRY_ONLY",
        /// Passed through.
        AllowAny = "ALLOW_ANY",
        /// Resolved by name and passed through.
        AllowAnyDynamicDns = "ALLOW_ANY_DYNAMIC_DNS",
    }

    /// Where inbound traffic is sent.
    pub enum InboundTrafficPolicyMode {
        /// To the workload's address.
        Passthrough = "PASSTHROUGH",
        /// To localhost.
        Localhost = "LOCALHOST",
    }

    /// What a configuration source is asked for.
    pub enum ConfigResource {
        /// Services.
        ServiceRegistry = "SERVICE_REGISTRY",
    }

    /// Scope of services.
    pub enum ServiceScope {
        /// The cluster.
        Local = "LOCAL",
        /// The mesh.
        Global = "GLOBAL",
    }

    /// Kind of path normalization.
    pub enum PathNormalizationType {
        /// As BASE.
        Default = "DEFAULT",
        /// None.
        None = "NONE",
        /// RFC 3986.
        Base = "BASE",
        /// And adjacent slashes merged.
        MergeSlashes = "MERGE_SLASHES",
        /// And `%2F` decoded before merging.
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES",
    }
}
