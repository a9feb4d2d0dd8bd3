//! TCP rules.

use std::collections::BTreeMap;

use super::RouteDestination;
use crate::proto::message;

message! {
    /// A TCP rule (Istio: `TCPRoute`).
    pub struct TcpRoute {
        /// Alternatives; empty matches everything.
        #[serde(rename = "match")]
        pub matches: Vec<L4MatchAttributes>,
        /// Weighted destinations.
        pub route: Vec<RouteDestination>,
    }

    /// Conditions on a connection, all of which must hold (Istio: `L4MatchAttributes`).
    pub struct L4MatchAttributes {
        /// Destination addresses, with optional prefix length.
        pub destination_subnets: Vec<String>,
        /// Destination port; 0 for any.
        pub port: u32,
        /// Source address with optional prefix length (deprecated, not implemented by Istio).
        pub source_subnet: String,
        /// Labels of the client workload.
        pub source_labels: BTreeMap<String, String>,
        /// Gateways to which the condition is restricted.
        pub gateways: Vec<String>,
        /// Namespace of the client workload.
        pub source_namespace: String,
    }
}
