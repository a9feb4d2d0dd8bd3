//! What is done to a request or a response beside forwarding.

use super::{BackendObjectReference, LocalObjectReference};
use crate::proto::{enumeration, message};

message! {
    /// One step of an HTTP rule (Gateway API: `HTTPRouteFilter`): the field of its type is set.
    pub struct HttpRouteFilter {
        /// Which one; required.
        #[serde(rename = "type")]
        pub kind: Option<HttpFilterType>,
        /// Changes headers of the request.
        pub request_header_modifier: Option<HeaderFilter>,
        /// Changes headers of the response.
        pub response_header_modifier: Option<HeaderFilter>,
        /// Sends copies elsewhere; their responses are dropped.
        pub request_mirror: Option<RequestMirrorFilter>,
        /// Answers with a redirection.
        pub request_redirect: Option<RequestRedirectFilter>,
        /// Changes path or host before forwarding.
        #[serde(rename = "urlRewrite")]
        pub url_rewrite: Option<UrlRewriteFilter>,
        /// Cross-origin policy.
        pub cors: Option<CorsFilter>,
        /// Asks another service whether the request may pass.
        pub external_auth: Option<ExternalAuthFilter>,
        /// An implementation's own.
        pub extension_ref: Option<LocalObjectReference>,
    }

    /// One step of a gRPC rule (Gateway API: `GRPCRouteFilter`): the field of its type is set.
    pub struct GrpcRouteFilter {
        /// Which one; required.
        #[serde(rename = "type")]
        pub kind: Option<GrpcFilterType>,
        /// Changes headers of the request.
        pub request_header_modifier: Option<HeaderFilter>,
        /// Changes headers of the response.
        pub response_header_modifier: Option<HeaderFilter>,
        /// Sends copies elsewhere; their responses are dropped.
        pub request_mirror: Option<RequestMirrorFilter>,
        /// An implementation's own.
        pub extension_ref: Option<LocalObjectReference>,
    }

    /// Header changes (Gateway API: `HTTPHeaderFilter`).
    pub struct HeaderFilter {
        /// Overwrite.
        pub set: Vec<HttpHeader>,
        /// Append.
        pub add: Vec<HttpHeader>,
        /// Remove.
        pub remove: Vec<String>,
    }

    /// A header (Gateway API: `HTTPHeader`).
    pub struct HttpHeader {
        /// Name, in any case.
        pub name: String,
        /// Value.
        pub value: String,
    }

    /// A copy of requests (Gateway API: `HTTPRequestMirrorFilter`); all when neither share is
    /// given.
    pub struct RequestMirrorFilter {
        /// Where it goes; required.
        pub backend_ref: Option<BackendObjectReference>,
        /// Share in percent; excludes `fraction`.
        pub percent: Option<u32>,
        /// Share as a fraction.
        pub fraction: Option<Fraction>,
    }

    /// A share (Gateway API: `Fraction`).
    pub struct Fraction {
        /// 0 or more.
        pub numerator: u32,
        /// 100 when absent.
        pub denominator: Option<u32>,
    }

    /// A redirection (Gateway API: `HTTPRequestRedirectFilter`); what is absent stays as in the
    /// request.
    pub struct RequestRedirectFilter {
        /// `http` or `https`.
        pub scheme: String,
        /// Host.
        pub hostname: String,
        /// Path.
        pub path: Option<PathModifier>,
        /// Port; the scheme's own when only the scheme is given.
        pub port: Option<u32>,
        /// 301, 302, 303, 307, 308; 302 when absent.
        pub status_code: Option<u32>,
    }

    /// A changed URL (Gateway API: `HTTPURLRewriteFilter`).
    pub struct UrlRewriteFilter {
        /// Host.
        pub hostname: String,
        /// Path.
        pub path: Option<PathModifier>,
    }

    /// A changed path: the field of its type is set (Gateway API: `HTTPPathModifier`).
    pub struct PathModifier {
        /// Which one; required.
        #[serde(rename = "type")]
        pub kind: Option<PathModifierType>,
        /// In place of the whole path.
        pub replace_full_path: Option<String>,
        /// In place of the prefix that matched.
        pub replace_prefix_match: Option<String>,
    }

    /// Cross-origin policy (Gateway API: `HTTPCORSFilter`).
    pub struct CorsFilter {
        /// `SCHEME://HOST[:PORT]`, `*.` wildcards allowed, or `*`.
        pub allow_origins: Vec<String>,
        /// `access-control-allow-credentials`.
        pub allow_credentials: Option<bool>,
        /// `access-control-allow-methods`.
        pub allow_methods: Vec<String>,
        /// `access-control-allow-headers`.
        pub allow_headers: Vec<String>,
        /// `access-control-expose-headers`.
        pub expose_headers: Vec<String>,
        /// `access-control-max-age` in seconds; 5 when absent.
        pub max_age: Option<u32>,
    }

    /// A service that decides on requests (Gateway API: `HTTPExternalAuthFilter`).
    pub struct ExternalAuthFilter {
        /// How it is asked.
        pub protocol: ExternalAuthProtocol,
        /// Who is asked; required.
        pub backend_ref: Option<BackendObjectReference>,
        /// For `GRPC`.
        pub grpc: Option<GrpcAuth>,
        /// For `HTTP`.
        pub http: Option<HttpAuth>,
        /// Whether it sees the body.
        pub forward_body: Option<ForwardBody>,
    }

    /// Asking in gRPC (Gateway API: `GRPCAuthConfig`).
    pub struct GrpcAuth {
        /// Headers that it sees.
        pub allowed_headers: Vec<String>,
    }

    /// Asking in HTTP (Gateway API: `HTTPAuthConfig`).
    pub struct HttpAuth {
        /// Prefix of the path.
        pub path: String,
        /// Headers that it sees.
        pub allowed_headers: Vec<String>,
        /// Headers of its answer that the backend sees.
        pub allowed_response_headers: Vec<String>,
    }

    /// The body for the service that decides (Gateway API: `ForwardBodyConfig`).
    pub struct ForwardBody {
        /// Bytes at most.
        pub max_size: u32,
    }
}

enumeration! {
    /// Steps of an HTTP rule.
    pub enum HttpFilterType {
        /// `requestHeaderModifier`.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// `responseHeaderModifier`.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// `requestMirror`.
        RequestMirror = "RequestMirror",
        /// `requestRedirect`.
        RequestRedirect = "RequestRedirect",
        /// `urlRewrite`.
        UrlRewrite = "URLRewrite",
        /// `extensionRef`.
        ExtensionRef = "ExtensionRef",
        /// `cors`.
        Cors = "CORS",
        /// `externalAuth`.
        ExternalAuth = "ExternalAuth",
    }

    /// Steps of a gRPC rule.
    pub enum GrpcFilterType {
        /// `requestHeaderModifier`.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// `responseHeaderModifier`.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// `requestMirror`.
        RequestMirror = "RequestMirror",
        /// `extensionRef`.
        ExtensionRef = "ExtensionRef",
    }

    /// Which part of a path is replaced.
    pub enum PathModifierType {
        /// All of it.
        ReplaceFullPath = "ReplaceFullPath",
        /// The prefix that matched.
        ReplacePrefixMatch = "ReplacePrefixMatch",
    }

    /// How a service is asked for its decision.
    pub enum ExternalAuthProtocol {
        /// As Envoy's `ext_authz` does in HTTP.
        Http = "HTTP",
        /// As Envoy's `ext_authz` does in gRPC.
        Grpc = "GRPC",
    }
}
