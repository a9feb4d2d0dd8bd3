//! What routes tell rate limit filters about a request (`rate_limits`).

use super::{HeaderMatch, QueryMatch};
use http::HeaderName;

/// One descriptor to make of a request: an entry of each action, or none at all when one of them
/// has nothing to say.
pub struct RateLimit {
    /// For filters of this stage.
    pub stage: u32,
    pub actions: Box<[RateLimitAction]>,
}

pub struct RateLimitAction {
    pub key: Box<str>,
    pub value: RateLimitValue,
}

/// Where an entry's value comes from.
pub enum RateLimitValue {
    /// `generic_key`.
    Text(Box<str>),
    /// The name of the route's cluster.
    DestinationCluster,
    /// The client's address after `x-forwarded-for` rules.
    RemoteAddress,
    /// The same as a prefix, `10.1.0.0/16`; lengths for IPv4 and IPv6.
    MaskedRemoteAddress(u8, u8),
    /// A header's first value. `skip`: without it the entry is left out, and not the descriptor.
    Header {
        name: HeaderName,
        skip: bool,
    },
    QueryParameter {
        name: Box<str>,
        skip: bool,
    },
    /// The text, for requests whose headers match (or do not).
    IfHeaders {
        text: Box<str>,
        headers: Box<[HeaderMatch]>,
        matching: bool,
    },
    IfQuery {
        text: Box<str>,
        query: Box<[QueryMatch]>,
        matching: bool,
    },
}
