//! Sidecar: what a workload's proxy listens on and what it can reach.

use super::{ConnectionPoolSettings, Destination, Port, ServerTlsSettings, WorkloadSelector};
use crate::proto::{enumeration, message};

message! {
    /// Scope of sidecars (Istio: `Sidecar`).
    pub struct Sidecar {
        /// Workloads; the whole namespace (or mesh, in the root namespace) when absent.
        pub workload_selector: Option<WorkloadSelector>,
        /// Inbound listeners; derived from services when empty.
        pub ingress: Vec<IstioIngressListener>,
        /// Outbound listeners and visible hosts; everything visible when empty.
        pub egress: Vec<IstioEgressListener>,
        /// Limits of inbound traffic.
        pub inbound_connection_pool: Option<ConnectionPoolSettings>,
        /// Traffic to unknown destinations; the mesh's setting when absent.
        pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    }

    /// An inbound listener (Istio: `IstioIngressListener`).
    pub struct IstioIngressListener {
        /// Where it listens.
        pub port: Option<SidecarPort>,
        /// Address to listen on; the workload's when empty.
        pub bind: String,
        /// Whether traffic is captured.
        pub capture_mode: CaptureMode,
        /// Where the application listens: `127.0.0.1:PORT`, `[::1]:PORT`, `0.0.0.0:PORT`,
        /// `[::]:PORT`, `unix:///path`.
        pub default_endpoint: String,
        /// TLS termination by the user's certificates.
        pub tls: Option<ServerTlsSettings>,
        /// Limits; override `inboundConnectionPool`.
        pub connection_pool: Option<ConnectionPoolSettings>,
    }

    /// An outbound listener (Istio: `IstioEgressListener`).
    pub struct IstioEgressListener {
        /// Where it listens; all ports of the hosts when absent.
        pub port: Option<SidecarPort>,
        /// Address to listen on, or a `unix://` path.
        pub bind: String,
        /// Whether traffic is captured.
        pub capture_mode: CaptureMode,
        /// Visible hosts, `namespace/host`; `.`, `*`, `~` as namespace.
        pub hosts: Vec<String>,
    }

    /// Traffic to unknown destinations (Istio: `OutboundTrafficPolicy`).
    pub struct OutboundTrafficPolicy {
        /// Mode.
        pub mode: OutboundTrafficPolicyMode,
        /// Where unknown traffic is sent instead of straight to its destination.
        pub egress_proxy: Option<Destination>,
    }
}

/// A port of a Sidecar's listener (Istio: `SidecarPort`).
pub type SidecarPort = Port;

enumeration! {
    /// How a listener gets its traffic.
    pub enum CaptureMode {
        /// As the workload is set up.
        Default = "DEFAULT",
        /// Redirected.
        Iptables = "IPTABLES",
        /// Addressed explicitly.
        None = "NONE",
    }

    /// What happens to traffic for unknown destinations.
    pub enum OutboundTrafficPolicyMode {
        /// Dropped.
        RegistryOnly = "REGISTRY_ONLY",
        /// Passed through.
        AllowAny = "ALLOW_ANY",
    }
}
