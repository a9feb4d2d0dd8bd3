//! DestinationRule: what happens to traffic after its destination is chosen.

mod connection_pool;
mod load_balancer;
mod outlier;
mod tls;

pub use connection_pool::*;
pub use load_balancer::*;
pub use outlier::OutlierDetection;
pub use tls::*;

use std::collections::BTreeMap;

use super::PortSelector;
use crate::proto::{Duration, enumeration, message};
use crate::scope::LabelSelector;

message! {
    /// Policies for a service's traffic (Istio: `DestinationRule`).
    pub struct DestinationRule {
        /// Service name, short or fully qualified, or a `*.` wildcard.
        pub host: String,
        /// For all subsets and ports.
        pub traffic_policy: Option<TrafficPolicy>,
        /// Named versions of the service.
        pub subsets: Vec<Subset>,
        /// Namespaces that see it.
        pub export_to: Vec<String>,
        /// Client workloads of the rule's namespace to which it is restricted.
        pub workload_selector: Option<LabelSelector>,
    }

    /// A named version of a service (Istio: `Subset`).
    pub struct Subset {
        /// A DNS label.
        pub name: String,
        /// Labels of its endpoints.
        pub labels: BTreeMap<String, String>,
        /// Overrides of the rule's policy, field by field.
        pub traffic_policy: Option<TrafficPolicy>,
    }

    /// Policies (Istio: `TrafficPolicy`).
    pub struct TrafficPolicy {
        /// How an endpoint is picked.
        pub load_balancer: Option<LoadBalancerSettings>,
        /// Limits.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// Ejection of failing endpoints.
        pub outlier_detection: Option<OutlierDetection>,
        /// TLS to the endpoints.
        pub tls: Option<ClientTlsSettings>,
        /// Policies of single ports; they replace, they do not merge.
        pub port_level_settings: Vec<PortTrafficPolicy>,
        /// HTTP CONNECT tunnelling.
        pub tunnel: Option<TunnelSettings>,
        /// PROXY protocol to the endpoints.
        pub proxy_protocol: Option<ProxyProtocol>,
        /// Limit on concurrent retries, relative to active requests.
        pub retry_budget: Option<RetryBudget>,
    }

    /// Policies of one port (Istio: `TrafficPolicy.PortTrafficPolicy`).
    pub struct PortTrafficPolicy {
        /// The service's port.
        pub port: Option<PortSelector>,
        /// How an endpoint is picked.
        pub load_balancer: Option<LoadBalancerSettings>,
        /// Limits.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// Ejection of failing endpoints.
        pub outlier_detection: Option<OutlierDetection>,
        /// TLS to the endpoints.
        pub tls: Option<ClientTlsSettings>,
    }

    /// Tunnelling of TCP over HTTP (Istio: `TrafficPolicy.TunnelSettings`).
    pub struct TunnelSettings {
        /// CONNECT (default) or POST.
        pub protocol: String,
        /// Host named in the CONNECT request.
        pub target_host: String,
        /// Port named in the CONNECT request.
        pub target_port: u32,
    }

    /// PROXY protocol (Istio: `TrafficPolicy.ProxyProtocol`).
    pub struct ProxyProtocol {
        /// Header version.
        pub version: ProxyProtocolVersion,
    }

    /// Bound on concurrent retries (Istio: `TrafficPolicy.RetryBudget`).
    pub struct RetryBudget {
        /// Percent of active requests; 20 by default.
        pub percent: Option<f64>,
        /// Always allowed; 3 by default.
        pub min_retry_concurrency: u32,
        /// Interval over which requests are counted.
        pub budget_interval: Option<Duration>,
    }
}

enumeration! {
    /// Version of the PROXY protocol's header.
    pub enum ProxyProtocolVersion {
        /// Text.
        V1 = "V1",
        /// Binary.
        V2 = "V2",
    }
}
