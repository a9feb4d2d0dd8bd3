//! HTTP rules: what is done with a request that matched.

use std::collections::BTreeMap;

use super::super::{Destination, Percent, StringMatch};
use super::HttpMatchRequest;
use crate::proto::{Bytes, Duration, enumeration, message};

message! {
    /// An HTTP rule (Istio: `HTTPRoute`): exactly one of route, redirect, directResponse or
    /// delegate.
    pub struct HttpRoute {
        /// Name in access logs and in Envoy's route.
        pub name: String,
        /// Alternatives; empty matches every request.
        #[serde(rename = "match")]
        pub matches: Vec<HttpMatchRequest>,
        /// Weighted destinations.
        pub route: Vec<HttpRouteDestination>,
        /// Answer with a redirection.
        pub redirect: Option<HttpRedirect>,
        /// Answer with a fixed response.
        pub direct_response: Option<HttpDirectResponse>,
        /// Continue in another VirtualService.
        pub delegate: Option<Delegate>,
        /// Change path or authority before forwarding.
        pub rewrite: Option<HttpRewrite>,
        /// Deadline of the whole request, retries included; none by default.
        pub timeout: Option<Duration>,
        /// Retry policy; the mesh's default when absent.
        pub retries: Option<HttpRetry>,
        /// Faults injected at the client.
        pub fault: Option<HttpFaultInjection>,
        /// Copy of the traffic; the response is dropped.
        pub mirror: Option<Destination>,
        /// Several copies.
        pub mirrors: Vec<HttpMirrorPolicy>,
        /// Deprecated whole percent for `mirror`.
        #[serde(alias = "mirror_percent")]
        pub mirror_percent: Option<u32>,
        /// Share for `mirror`; 100 when absent.
        pub mirror_percentage: Option<Percent>,
        /// Cross-origin policy.
        pub cors_policy: Option<CorsPolicy>,
        /// Header changes for all destinations of the rule.
        pub headers: Option<Headers>,
    }

    /// A destination with its share (Istio: `HTTPRouteDestination`).
    pub struct HttpRouteDestination {
        /// Where to.
        pub destination: Destination,
        /// Share relative to the sum of the weights of the route.
        pub weight: i32,
        /// Header changes for this destination.
        pub headers: Option<Headers>,
    }

    /// Reference to another VirtualService without hosts (Istio: `Delegate`).
    pub struct Delegate {
        /// Its name.
        pub name: String,
        /// Its namespace; that of the root when empty.
        pub namespace: String,
    }

    /// Header changes (Istio: `Headers`).
    pub struct Headers {
        /// On the request, before it is forwarded.
        pub request: Option<HeaderOperations>,
        /// On the response, before it is returned.
        pub response: Option<HeaderOperations>,
    }

    /// Header changes in one direction (Istio: `HeaderOperations`).
    pub struct HeaderOperations {
        /// Overwrite.
        pub set: BTreeMap<String, String>,
        /// Append.
        pub add: BTreeMap<String, String>,
        /// Remove.
        pub remove: Vec<String>,
    }

    /// A redirection (Istio: `HTTPRedirect`).
    pub struct HttpRedirect {
        /// New path (replaces path and query).
        pub uri: String,
        /// New authority.
        pub authority: String,
        /// New port; excludes `derivePort`.
        pub port: Option<u32>,
        /// Port from the request; excludes `port`.
        pub derive_port: Option<RedirectPortSelection>,
        /// New scheme.
        pub scheme: String,
        /// 301 when 0; 301, 302, 303, 307, 308.
        pub redirect_code: u32,
        /// Replaces the matched prefix of the path; excludes `uri`.
        pub prefix_rewrite: String,
    }

    /// A fixed response (Istio: `HTTPDirectResponse`).
    pub struct HttpDirectResponse {
        /// Status code, 200 to 599.
        pub status: u32,
        /// Body; none by default, at most 1 MB in Istio.
        pub body: Option<HttpBody>,
    }

    /// Body: one of the two (Istio: `HTTPBody`).
    pub struct HttpBody {
        /// As text.
        pub string: Option<String>,
        /// As base64.
        pub bytes: Option<Bytes>,
    }

    /// Rewriting (Istio: `HTTPRewrite`).
    pub struct HttpRewrite {
        /// Replaces the path, or the matched prefix of it.
        pub uri: String,
        /// Replaces the authority.
        pub authority: String,
        /// Replaces by expression; excludes `uri`.
        pub uri_regex_rewrite: Option<RegexRewrite>,
    }

    /// A regular-expression substitution (Istio: `RegexRewrite`).
    pub struct RegexRewrite {
        /// RE2 expression with capture groups.
        #[serde(rename = "match")]
        pub pattern: String,
        /// Replacement; `\1` is the first group.
        pub rewrite: String,
    }

    /// Retries (Istio: `HTTPRetry`).
    pub struct HttpRetry {
        /// Retries after the first try; 0 disables.
        pub attempts: i32,
        /// Deadline of one try; the request's timeout when absent.
        pub per_try_timeout: Option<Duration>,
        /// Comma-separated conditions and status codes; Istio's default when empty.
        pub retry_on: String,
        /// Whether retries may leave the locality.
        pub retry_remote_localities: Option<bool>,
        /// Whether hosts already tried are avoided; true by default.
        pub retry_ignore_previous_hosts: Option<bool>,
        /// Base of the exponential back-off; 25 ms by default.
        pub backoff: Option<Duration>,
    }

    /// Cross-origin policy (Istio: `CorsPolicy`).
    pub struct CorsPolicy {
        /// Deprecated exact origins.
        pub allow_origin: Vec<String>,
        /// Origins.
        pub allow_origins: Vec<StringMatch>,
        /// `access-control-allow-methods`.
        pub allow_methods: Vec<String>,
        /// `access-control-allow-headers`.
        pub allow_headers: Vec<String>,
        /// `access-control-expose-headers`.
        pub expose_headers: Vec<String>,
        /// `access-control-max-age`.
        pub max_age: Option<Duration>,
        /// `access-control-allow-credentials`.
        pub allow_credentials: Option<bool>,
        /// Preflights whose origin does not match.
        pub unmatched_preflights: UnmatchedPreflights,
    }

    /// Faults (Istio: `HTTPFaultInjection`).
    pub struct HttpFaultInjection {
        /// Wait before forwarding.
        pub delay: Option<FaultDelay>,
        /// Answer instead of forwarding.
        pub abort: Option<FaultAbort>,
    }

    /// A delay: one of the two durations (Istio: `HTTPFaultInjection.Delay`).
    pub struct FaultDelay {
        /// Deprecated whole percent.
        pub percent: i32,
        /// Always this long.
        pub fixed_delay: Option<Duration>,
        /// Not implemented by Istio.
        pub exponential_delay: Option<Duration>,
        /// Share of the requests; 100 when absent.
        pub percentage: Option<Percent>,
    }

    /// An abort: one of the three codes (Istio: `HTTPFaultInjection.Abort`).
    pub struct FaultAbort {
        /// HTTP status.
        pub http_status: Option<i32>,
        /// gRPC status, by name or number.
        pub grpc_status: Option<String>,
        /// HTTP/2 error; not implemented by Istio.
        pub http2_error: Option<String>,
        /// Share of the requests; 100 when absent.
        pub percentage: Option<Percent>,
    }

    /// A mirror with its share (Istio: `HTTPMirrorPolicy`).
    pub struct HttpMirrorPolicy {
        /// Where the copy goes.
        pub destination: Destination,
        /// Share; 100 when absent.
        pub percentage: Option<Percent>,
    }
}

enumeration! {
    /// Where a redirection's port comes from.
    pub enum RedirectPortSelection {
        /// 80 for http, 443 for https.
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT",
        /// The port of the request.
        FromRequestPort = "FROM_REQUEST_PORT",
    }

    /// What happens to a preflight whose origin does not match.
    pub enum UnmatchedPreflights {
        /// As FORWARD.
        Unspecified = "UNSPECIFIED",
        /// Forwarded to the service.
        Forward = "FORWARD",
        /// Answered by the proxy without CORS headers.
        Ignore = "IGNORE",
    }
}
