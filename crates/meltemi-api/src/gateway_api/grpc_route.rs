//! GRPCRoute.

use super::{
    DefaultGateways, GrpcRouteFilter, ParentReference, SessionPersistence, ValueMatch,
    ValueMatchType,
};
use crate::proto::message;

message! {
    /// Rules for gRPC calls (Gateway API: `GRPCRoute`).
    pub struct GrpcRoute {
        /// Gateways, Services or ServiceEntries whose calls the rules are for.
        pub parent_refs: Vec<ParentReference>,
        /// Host names, `*.` wildcards allowed; those of the listeners when empty. For Gateways
        /// only.
        pub hostnames: Vec<String>,
        /// Rules; the most specific match wins. Empty: one rule that takes everything.
        pub rules: Vec<GrpcRouteRule>,
        /// Whether it is attached to the default Gateways.
        pub use_default_gateways: DefaultGateways,
    }

    /// A rule (Gateway API: `GRPCRouteRule`).
    pub struct GrpcRouteRule {
        /// Name of the route in access logs.
        pub name: String,
        /// Alternatives; every call when empty.
        pub matches: Vec<GrpcRouteMatch>,
        /// Steps.
        pub filters: Vec<GrpcRouteFilter>,
        /// Weighted backends; without any calls get 500.
        pub backend_refs: Vec<GrpcBackendRef>,
        /// Whether a session stays with an endpoint.
        pub session_persistence: Option<SessionPersistence>,
    }

    /// Conditions, all of which must hold (Gateway API: `GRPCRouteMatch`).
    pub struct GrpcRouteMatch {
        /// Service and method; every one when absent.
        pub method: Option<GrpcMethodMatch>,
        /// Headers.
        pub headers: Vec<ValueMatch>,
    }

    /// A condition on the method: service, method, or both (Gateway API: `GRPCMethodMatch`).
    pub struct GrpcMethodMatch {
        /// How both are compared.
        #[serde(rename = "type")]
        pub kind: ValueMatchType,
        /// For example `helloworld.Greeter`; any when empty.
        pub service: String,
        /// For example `SayHello`; any when empty.
        pub method: String,
    }

    /// A backend with its share (Gateway API: `GRPCBackendRef`).
    pub struct GrpcBackendRef {
        /// API group; Kubernetes' core when absent.
        pub group: Option<String>,
        /// `Service` when absent; `Hostname` of networking.istio.io for a host name.
        pub kind: Option<String>,
        /// Name.
        pub name: String,
        /// Namespace; the route's own when empty.
        pub namespace: String,
        /// Port of the Service; required for one.
        pub port: Option<u32>,
        /// Share relative to the sum of the weights; 1 when absent.
        pub weight: Option<u32>,
        /// Steps for this backend alone.
        pub filters: Vec<GrpcRouteFilter>,
    }
}
