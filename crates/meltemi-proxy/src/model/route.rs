//! Route tables: virtual hosts, matching, and what a route does.

use super::{
    ClusterId, Decorator, HeaderMatch, HeaderOps, Overrides, PathMatch, QueryMatch, RateLimit,
    Routes, TraceRule,
};
use meltemi_re2::Regex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A change of one virtual host makes another table that shares all else with the former.
#[derive(Clone)]
pub struct RouteTable {
    pub name: Box<str>,
    pub hosts: Vec<Arc<VirtualHost>>,
    pub domains: Arc<Domains>,
    /// `ignore_port_in_host_matching`.
    pub ignore_port: bool,
    pub request_headers: HeaderOps,
    pub response_headers: HeaderOps,
}

/// Domains to indices of a table's hosts.
#[derive(Default)]
pub struct Domains {
    /// In lower case.
    pub exact: HashMap<Box<str>, u32>,
    /// `*.suffix` as `.suffix`, longest first.
    pub suffix: Vec<(Box<str>, u32)>,
    /// `prefix.*` as `prefix.`, longest first.
    pub prefix: Vec<(Box<str>, u32)>,
    /// `*`.
    pub any: Option<u32>,
}

pub struct VirtualHost {
    pub name: Box<str>,
    /// In lower case.
    pub domains: Box<[Box<str>]>,
    pub routes: Routes,
    pub require_tls: RequireTls,
    pub rate_limits: Box<[RateLimit]>,
    pub request_headers: HeaderOps,
    pub response_headers: HeaderOps,
    /// `include_request_attempt_count`: send `x-envoy-attempt-count` upstream.
    pub attempt_count_in_request: bool,
    pub attempt_count_in_response: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequireTls {
    No,
    ExternalOnly,
    All,
}

pub struct Route {
    pub name: Box<str>,
    pub matches: RouteMatch,
    pub action: Action,
    /// Route level only; the virtual host's and the table's follow in that order.
    pub request_headers: HeaderOps,
    pub response_headers: HeaderOps,
    /// `typed_per_filter_config`: route over virtual host over table.
    pub filters: Overrides,
    pub decorator: Option<Box<Decorator>>,
    /// In place of the connection manager's.
    pub tracing: Option<Box<TraceRule>>,
    /// Istio's `metadata.filter_metadata.istio.config`: the object this route came from.
    pub origin: Option<Box<str>>,
}

pub struct RouteMatch {
    pub path: PathMatch,
    pub case_sensitive: bool,
    /// Includes `:method`, `:authority`, `:scheme`.
    pub headers: Box<[HeaderMatch]>,
    pub query: Box<[QueryMatch]>,
    pub grpc_only: bool,
    /// `runtime_fraction` with no runtime: (numerator, denominator).
    pub fraction: Option<(u32, u32)>,
    /// `tls_context.presented` / `validated`.
    pub client_cert_presented: Option<bool>,
    pub client_cert_validated: Option<bool>,
}

pub enum Action {
    Forward(Box<Forward>),
    Redirect(Box<Redirect>),
    Direct(DirectResponse),
    /// `non_forwarding_action`: answer 404 (NR) from a proxy.
    NonForwarding,
}

pub struct Forward {
    pub cluster: ClusterChoice,
    /// Which subset of the cluster (`metadata_match`).
    pub criteria: super::Criteria,
    /// Answer when the cluster is unknown (`cluster_not_found_response_code`).
    pub cluster_not_found: http::StatusCode,
    /// `None`: no bound (Envoy's `timeout: 0s`; unset is 15 s).
    pub timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    /// Bounds `grpc-timeout` requests; `None` ignores the header.
    pub max_grpc_timeout: Option<Duration>,
    pub max_stream_duration: Option<Duration>,
    pub retry: Option<Arc<RetryPolicy>>,
    pub host_rewrite: HostRewrite,
    pub append_x_forwarded_host: bool,
    pub path_rewrite: PathRewrite,
    pub mirrors: Box<[Mirror]>,
    pub hash_policy: Box<[HashPolicy]>,
    pub rate_limits: Box<[RateLimit]>,
    /// The virtual host's `rate_limits` hold too (`include_vh_rate_limits`).
    pub include_host_rate_limits: bool,
    /// Overrides of the manager's upgrades: (lower-case token, enabled).
    pub upgrades: Box<[(Box<str>, bool)]>,
    /// `connect_config`: a CONNECT becomes a TCP connection to the endpoint.
    pub ends_connect: bool,
    pub high_priority: bool,
}

pub enum ClusterChoice {
    One(ClusterId),
    /// `total` is the sum of the weights, greater than zero.
    Weighted {
        clusters: Box<[WeightedCluster]>,
        total: u32,
    },
    /// `cluster_header`: resolved by name per request.
    Header(http::HeaderName),
}

pub struct WeightedCluster {
    pub cluster: ClusterId,
    pub weight: u32,
    /// The route's, with its own.
    pub criteria: super::Criteria,
    pub host_rewrite: Option<Box<str>>,
    pub request_headers: HeaderOps,
    pub response_headers: HeaderOps,
    /// Its `typed_per_filter_config` over the route's.
    pub filters: Overrides,
}

pub enum HostRewrite {
    None,
    Literal(Box<str>),
    /// `auto_host_rewrite`: the endpoint's host name.
    Auto,
    Header(http::HeaderName),
}

pub enum PathRewrite {
    None,
    /// Replaces the matched prefix or whole path (`prefix_rewrite`).
    Prefix(Box<str>),
    /// The replacement in the `regex` crate's syntax (`${1}`).
    Regex(Regex, Box<str>),
}

pub struct Redirect {
    pub status: http::StatusCode,
    pub https: bool,
    pub scheme: Option<Box<str>>,
    pub host: Option<Box<str>>,
    pub port: Option<u16>,
    pub path: PathRewrite,
    /// `path_redirect`: the whole path.
    pub full_path: Option<Box<str>>,
    pub strip_query: bool,
}

pub struct DirectResponse {
    pub status: http::StatusCode,
    pub body: bytes::Bytes,
}

/// Envoy's `RetryPolicy`. Conditions are bits, see [`RetryOn`].
pub struct RetryPolicy {
    pub on: RetryOn,
    /// Retries after the first attempt.
    pub num_retries: u32,
    pub per_try_timeout: Option<Duration>,
    pub per_try_idle_timeout: Option<Duration>,
    pub statuses: Box<[u16]>,
    pub backoff_base: Duration,
    pub backoff_max: Duration,
    /// Skip endpoints tried before (`previous_hosts`).
    pub avoid_previous_hosts: bool,
    /// Re-picks before a previous host is accepted after all.
    pub host_selection_attempts: u32,
    pub retriable_headers: Box<[HeaderMatch]>,
    pub retriable_request_headers: Box<[HeaderMatch]>,
    /// `previous_priorities`: update frequency; retries move to other priorities.
    pub previous_priorities: Option<u32>,
}

/// A set of retry conditions (`retry_on` and `x-envoy-retry-on` names).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(pub u32);

impl RetryOn {
    pub const FIVE_XX: Self = Self(1);
    pub const GATEWAY_ERROR: Self = Self(1 << 1);
    pub const RESET: Self = Self(1 << 2);
    pub const RESET_BEFORE_REQUEST: Self = Self(1 << 3);
    pub const CONNECT_FAILURE: Self = Self(1 << 4);
    pub const ENVOY_RATE_LIMITED: Self = Self(1 << 5);
    pub const RETRIABLE_4XX: Self = Self(1 << 6);
    pub const REFUSED_STREAM: Self = Self(1 << 7);
    pub const RETRIABLE_STATUS_CODES: Self = Self(1 << 8);
    pub const RETRIABLE_HEADERS: Self = Self(1 << 9);
    pub const HTTP3_POST_CONNECT_FAILURE: Self = Self(1 << 10);
    pub const GRPC_CANCELLED: Self = Self(1 << 11);
    pub const GRPC_DEADLINE_EXCEEDED: Self = Self(1 << 12);
    pub const GRPC_INTERNAL: Self = Self(1 << 13);
    pub const GRPC_RESOURCE_EXHAUSTED: Self = Self(1 << 14);
    pub const GRPC_UNAVAILABLE: Self = Self(1 << 15);

    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The condition of that name, or `None` when Envoy knows no such name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "5xx" => Self::FIVE_XX,
            "gateway-error" => Self::GATEWAY_ERROR,
            "reset" => Self::RESET,
            "reset-before-request" => Self::RESET_BEFORE_REQUEST,
            "connect-failure" => Self::CONNECT_FAILURE,
            "envoy-ratelimited" => Self::ENVOY_RATE_LIMITED,
            "retriable-4xx" => Self::RETRIABLE_4XX,
            "refused-stream" => Self::REFUSED_STREAM,
            "retriable-status-codes" => Self::RETRIABLE_STATUS_CODES,
            "retriable-headers" => Self::RETRIABLE_HEADERS,
            "http3-post-connect-failure" => Self::HTTP3_POST_CONNECT_FAILURE,
            "cancelled" => Self::GRPC_CANCELLED,
            "deadline-exceeded" => Self::GRPC_DEADLINE_EXCEEDED,
            "internal" => Self::GRPC_INTERNAL,
            "resource-exhausted" => Self::GRPC_RESOURCE_EXHAUSTED,
            "unavailable" => Self::GRPC_UNAVAILABLE,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug)]
pub struct Mirror {
    pub cluster: ClusterId,
    /// (numerator, denominator).
    pub fraction: (u32, u32),
    /// The copy's host name gets `-shadow` appended (Envoy's default; Istio turns it off
    /// by `disable_shadow_host_suffix_append`).
    pub shadow_suffix: bool,
    /// Whether the copy is traced, in place of what holds for the request.
    pub sampled: Option<bool>,
}

/// Where a consistent hash comes from; the first `terminal` one that yields a value ends.
pub enum HashPolicy {
    Header {
        name: http::HeaderName,
        rewrite: Option<(Regex, Box<str>)>,
        terminal: bool,
    },
    Cookie {
        name: Box<str>,
        /// `Some`: set the cookie when absent, with this lifetime (0: session).
        ttl: Option<Duration>,
        path: Box<str>,
        /// Of the cookie that is set: `; NAME=VALUE` each.
        attributes: Box<str>,
        terminal: bool,
    },
    SourceIp {
        terminal: bool,
    },
    QueryParameter {
        name: Box<str>,
        terminal: bool,
    },
}
