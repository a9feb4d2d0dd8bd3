//! HTTPRoute.

use super::{
    DefaultGateways, GatewayDuration, HttpRouteFilter, ParentReference, SessionPersistence,
};
use crate::proto::{enumeration, message};

message! {
    /// Rules for HTTP requests (Gateway API: `HTTPRoute`).
    pub struct HttpRoute {
        /// Gateways, Services or ServiceEntries whose requests the rules are for.
        pub parent_refs: Vec<ParentReference>,
        /// Host names, `*.` wildcards allowed; those of the listeners when empty. For Gateways
        /// only.
        pub hostnames: Vec<String>,
        /// Rules; the most specific match wins. Empty: one rule that takes everything.
        pub rules: Vec<HttpRouteRule>,
        /// Whether it is attached to the default Gateways.
        pub use_default_gateways: DefaultGateways,
    }

    /// A rule (Gateway API: `HTTPRouteRule`).
    pub struct HttpRouteRule {
        /// Name of the route in access logs.
        pub name: String,
        /// Alternatives; every request when empty.
        pub matches: Vec<HttpRouteMatch>,
        /// Steps.
        pub filters: Vec<HttpRouteFilter>,
        /// Weighted backends; without any requests get 500.
        pub backend_refs: Vec<HttpBackendRef>,
        /// Deadlines.
        pub timeouts: Option<HttpRouteTimeouts>,
        /// Retries; the mesh's default when absent.
        pub retry: Option<HttpRouteRetry>,
        /// Whether a session stays with an endpoint.
        pub session_persistence: Option<SessionPersistence>,
    }

    /// Conditions, all of which must hold (Gateway API: `HTTPRouteMatch`).
    pub struct HttpRouteMatch {
        /// Path; every one when absent.
        pub path: Option<HttpPathMatch>,
        /// Headers.
        pub headers: Vec<ValueMatch>,
        /// Query parameters.
        pub query_params: Vec<ValueMatch>,
        /// Method; any when empty.
        pub method: String,
    }

    /// A condition on the path (Gateway API: `HTTPPathMatch`).
    pub struct HttpPathMatch {
        /// How it is compared.
        #[serde(rename = "type")]
        pub kind: PathMatchType,
        /// `/` when absent.
        pub value: Option<String>,
    }

    /// A condition on a header or a query parameter (Gateway API: `HTTPHeaderMatch`,
    /// `HTTPQueryParamMatch`, `GRPCHeaderMatch`).
    pub struct ValueMatch {
        /// How it is compared.
        #[serde(rename = "type")]
        pub kind: ValueMatchType,
        /// Name; of a header in any case.
        pub name: String,
        /// Value.
        pub value: String,
    }

    /// A backend with its share (Gateway API: `HTTPBackendRef`).
    pub struct HttpBackendRef {
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
        pub filters: Vec<HttpRouteFilter>,
    }

    /// Deadlines; `0s` for none (Gateway API: `HTTPRouteTimeouts`).
    pub struct HttpRouteTimeouts {
        /// Of the whole request, retries included.
        pub request: Option<GatewayDuration>,
        /// Of one try.
        pub backend_request: Option<GatewayDuration>,
    }

    /// Retries (Gateway API: `HTTPRouteRetry`).
    pub struct HttpRouteRetry {
        /// Status codes that are retried, beside failed connections.
        pub codes: Vec<u32>,
        /// Retries after the first try; 2 when absent.
        pub attempts: Option<u32>,
        /// Least time between tries.
        pub backoff: Option<GatewayDuration>,
    }
}

enumeration! {
    /// How a path is compared.
    pub enum PathMatchType {
        /// Whole segments at the beginning: `/a` is `/a` and `/a/b`, not `/ab`.
        PathPrefix = "PathPrefix",
        /// Equal.
        Exact = "Exact",
        /// RE2 expression that matches all of it.
        RegularExpression = "RegularExpression",
    }

    /// How a value is compared.
    pub enum ValueMatchType {
        /// Equal.
        Exact = "Exact",
        /// RE2 expression that matches all of it.
        RegularExpression = "RegularExpression",
    }
}
