//! VirtualService: which requests go where.

mod grpc_status;
mod http;
mod http_match;
mod tcp;
mod tls;

pub use grpc_status::*;
pub use http::*;
pub use http_match::*;
pub use tcp::*;
pub use tls::*;

use super::Destination;
use crate::proto::message;

message! {
    /// Traffic rules for a set of hosts (Istio: `VirtualService`).
    pub struct VirtualService {
        /// Names the rules apply to: service names, FQDNs, `*.` wildcards, addresses.
        pub hosts: Vec<String>,
        /// Gateways (`name` or `namespace/name`) and the reserved `mesh`; empty means `mesh`.
        pub gateways: Vec<String>,
        /// HTTP rules, first match wins.
        pub http: Vec<HttpRoute>,
        /// Rules for TLS that is passed through, by SNI.
        pub tls: Vec<TlsRoute>,
        /// Rules for opaque TCP.
        pub tcp: Vec<TcpRoute>,
        /// Namespaces that see it: `.`, `*`, names; empty means the mesh's default.
        pub export_to: Vec<String>,
    }

    /// A destination with its share, for TLS and TCP (Istio: `RouteDestination`).
    pub struct RouteDestination {
        /// Where to.
        pub destination: Destination,
        /// Share relative to the sum of the weights of the route.
        pub weight: i32,
    }
}
