//! TLS pass-through rules.

use std::collections::BTreeMap;

use super::RouteDestination;
use crate::proto::message;

message! {
    /// A rule for TLS that is not terminated (Istio: `TLSRoute`).
    pub struct TlsRoute {
        /// Alternatives; at least one.
        #[serde(rename = "match")]
        pub matches: Vec<TlsMatchAttributes>,
        /// Weighted destinations.
        pub route: Vec<RouteDestination>,
    }

    /// Conditions on a TLS connection (Istio: `TLSMatchAttributes`).
    pub struct TlsMatchAttributes {
        /// Server names, `*.` wildcards allowed; each must be covered by the hosts.
        pub sni_hosts: Vec<String>,
        /// Destination addresses, with optional prefix length.
        pub destination_subnets: Vec<String>,
        /// Destination port; 0 for any.
        pub port: u32,
        /// Labels of the client workload.
        pub source_labels: BTreeMap<String, String>,
        /// Gateways to which the condition is restricted.
        pub gateways: Vec<String>,
        /// Namespace of the client workload.
        pub source_namespace: String,
    }
}
