//! TLSRoute and TCPRoute.

use super::{BackendRef, DefaultGateways, ParentReference};
use crate::proto::message;

message! {
    /// Rules for TLS connections by server name (Gateway API: `TLSRoute`).
    pub struct TlsRoute {
        /// Gateways, Services or ServiceEntries whose connections the rules are for.
        pub parent_refs: Vec<ParentReference>,
        /// Server names, `*.` wildcards allowed; optional in v1alpha2.
        pub hostnames: Vec<String>,
        /// Rules.
        pub rules: Vec<L4RouteRule>,
        /// Whether it is attached to the default Gateways.
        pub use_default_gateways: DefaultGateways,
    }

    /// Rules for connections (Gateway API: `TCPRoute`).
    pub struct TcpRoute {
        /// Gateways, Services or ServiceEntries whose connections the rules are for.
        pub parent_refs: Vec<ParentReference>,
        /// Rules.
        pub rules: Vec<L4RouteRule>,
        /// Whether it is attached to the default Gateways.
        pub use_default_gateways: DefaultGateways,
    }

    /// A rule (Gateway API: `TLSRouteRule`, `TCPRouteRule`).
    pub struct L4RouteRule {
        /// For readers.
        pub name: String,
        /// Weighted backends.
        pub backend_refs: Vec<BackendRef>,
    }
}
