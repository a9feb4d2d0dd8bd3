//! MeshConfig with Istio's defaults filled in, as translation needs it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use meltemi_api::ObjectKey;
use meltemi_api::mesh::{
    InboundTrafficPolicyMode, MeshConfig, MeshOutboundTrafficPolicyMode, Topology, Tracing,
};
use meltemi_api::networking::{ClientTlsSettings, H2UpgradePolicy, TcpKeepalive};

use crate::issue::Issues;

/// Where traffic goes that no service or route covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OutboundPolicy {
    /// To where the application sent it.
    AllowAny,
    /// Plaintext HTTP to the host that it names, everything else as with `AllowAny`.
    AllowAnyDynamicDns,
    /// Nowhere.
    RegistryOnly,
}

/// The Service of Istio's ingress gateway, whose workloads have a label of another value.
const INGRESS_SERVICE: &str = "istio-ingressgateway";

/// Mesh-wide settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    pub config: Arc<MeshConfig>,
    pub trust_domain: String,
    pub root_namespace: String,
    pub outbound_policy: OutboundPolicy,
    /// Redirected connections to a workload go to its localhost, not to its address.
    pub inbound_to_localhost: bool,
    pub auto_mtls: bool,
    pub connect_timeout: Duration,
    pub protocol_detection_timeout: Duration,
    pub dns_refresh_rate: Duration,
    pub outbound_port: u16,
    pub inbound_port: u16,
    pub tracing: bool,
    /// Percent of requests traced.
    pub trace_sampling: f64,
}

impl Mesh {
    pub fn new(config: Arc<MeshConfig>) -> Self {
        let port = |given: Option<i32>, default: u16| {
            given
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or(default)
        };
        let duration = |given: Option<meltemi_api::Duration>, default: u64| {
            given.map_or(Duration::from_secs(default), Into::into)
        };
        let defaults = config.default_config.as_ref();
        let tracing = defaults.and_then(|defaults| defaults.tracing.as_ref());
        Self {
            trust_domain: config
                .trust_domain
                .clone()
                .filter(|domain| !domain.is_empty())
                .unwrap_or_else(|| "cluster.local".to_owned()),
            root_namespace: config
                .root_namespace
                .clone()
                .filter(|namespace| !namespace.is_empty())
                .unwrap_or_else(|| "istio-system".to_owned()),
            outbound_policy: match config.outbound_traffic_policy.as_ref().map(|p| p.mode) {
                Some(MeshOutboundTrafficPolicyMode::RegistryOnly) => OutboundPolicy::RegistryOnly,
                Some(MeshOutboundTrafficPolicyMode::AllowAnyDynamicDns) => {
                    OutboundPolicy::AllowAnyDynamicDns
                }
                Some(MeshOutboundTrafficPolicyMode::AllowAny) | None => OutboundPolicy::AllowAny,
            },
            inbound_to_localhost: config
                .inbound_traffic_policy
                .as_ref()
                .is_some_and(|policy| policy.mode == InboundTrafficPolicyMode::Localhost),
            auto_mtls: config.enable_auto_mtls.unwrap_or(true),
            connect_timeout: duration(config.connect_timeout, 10),
            protocol_detection_timeout: duration(config.protocol_detection_timeout, 0),
            dns_refresh_rate: duration(config.dns_refresh_rate, 60),
            outbound_port: port(config.proxy_listen_port, 15001),
            inbound_port: port(config.proxy_inbound_listen_port, 15006),
            tracing: config.enable_tracing.unwrap_or(true),
            trace_sampling: tracing.and_then(|tracing| tracing.sampling).unwrap_or(1.0),
            config,
        }
    }

    /// Labels of the mesh's ingress gateway (Istio MeshConfig: `ingressSelector`,
    /// `ingressService`).
    pub fn ingress_labels(&self) -> BTreeMap<String, String> {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let value = given(&self.config.ingress_selector)
            .or_else(|| given(&self.config.ingress_service).filter(|name| name != INGRESS_SERVICE))
            .unwrap_or_else(|| "ingressgateway".to_owned());
        [("istio".to_owned(), value)].into()
    }

    /// What is in front of the gateways (Istio MeshConfig: `defaultConfig.gatewayTopology`).
    pub fn topology(&self) -> Option<&Topology> {
        self.config
            .default_config
            .as_ref()?
            .gateway_topology
            .as_ref()
    }

    /// Istio MeshConfig: `defaultConfig.tracing`.
    pub fn tracing_settings(&self) -> Option<&Tracing> {
        self.config.default_config.as_ref()?.tracing.as_ref()
    }

    /// TLS to hosts that no service has.
    pub fn outbound_tls(&self) -> Option<&ClientTlsSettings> {
        let policy = self.config.outbound_traffic_policy.as_ref()?;
        let dynamic = self.outbound_policy == OutboundPolicy::AllowAnyDynamicDns;
        policy.tls.as_ref().filter(|_| dynamic)
    }

    /// Says what of the MeshConfig does not do what it seems to.
    pub fn report(&self, key: &ObjectKey, issues: &mut Issues) {
        let policy = self.config.outbound_traffic_policy.as_ref();
        let Some(tls) = policy.and_then(|policy| policy.tls.as_ref()) else {
            return;
        };
        let mut add = |field: &str, message: &str| {
            issues.add(
                key,
                format!("spec.outboundTrafficPolicy.tls{field}"),
                message,
            );
        };
        if self.outbound_tls().is_none() {
            add("", "has no effect without mode ALLOW_ANY_DYNAMIC_DNS");
            return;
        }
        if !tls.credential_name.is_empty() {
            add(
                ".credentialName",
                "sidecars get no Secret for it: give files. Connections fail until then",
            );
        }
        if !tls.sni.is_empty() {
            add(
                ".sni",
                "has no effect: the host that a request names is sent",
            );
        }
        if tls.insecure_skip_verify == Some(true) {
            add(
                ".insecureSkipVerify",
                "the server's certificate is not verified: anyone on the path can answer in its place",
            );
        }
    }

    pub fn keepalive(&self) -> Option<&TcpKeepalive> {
        self.config.tcp_keepalive.as_ref()
    }

    pub fn upgrades_to_http2(&self) -> bool {
        self.config.h2_upgrade_policy == H2UpgradePolicy::Upgrade
    }
}
