//! Caches of the names that requests ask for (Envoy's dynamic forward proxy).

use super::{DnsFamily, IpPrefix};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A `DnsCacheConfig` without its name. Wherever a name is configured, these are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsCacheSettings {
    pub lookup: DnsFamily,
    /// Name servers to ask in place of the host's; empty: the host's.
    pub servers: Vec<SocketAddr>,
    /// Until a name without a time to live of its own is resolved again (`dns_refresh_rate`,
    /// Envoy 60 s).
    pub refresh: Duration,
    /// Lower bound on times to live (`dns_min_refresh_rate`, Envoy 5 s).
    pub min_refresh: Duration,
    /// Until a name that could not be resolved is tried again, the first time and the longest
    /// (`dns_failure_refresh_rate`, Envoy `dns_refresh_rate`).
    pub failure_refresh: (Duration, Duration),
    /// Names that could not be resolved are tried again when they are next asked for
    /// (`disable_dns_refresh_on_failure`).
    pub forget_failures: bool,
    /// A name unused for this long is forgotten (`host_ttl`, Envoy 5 min).
    pub host_ttl: Duration,
    /// Names with their ports held at a time (`max_hosts`, Envoy 1024).
    pub max_hosts: usize,
    /// Bound on a resolution (`dns_query_timeout`, Envoy 5 s); `None`: the resolver's own.
    pub query_timeout: Option<Duration>,
    /// Requests that may wait for a name at a time (`max_pending_requests`, Envoy 1024).
    pub max_pending: u32,
    /// Addresses that are taken out of answers (`resolved_address_filter`).
    pub filter: Option<AddressFilter>,
}

/// `AddressMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressFilter {
    pub ranges: Vec<IpPrefix>,
    pub invert: bool,
}

impl AddressFilter {
    pub fn matches(&self, ip: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(ip)) != self.invert
    }
}
