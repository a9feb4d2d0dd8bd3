//! Listeners, the inspection they do, and the filter chains they choose from.

use super::{AccessLog, ClusterId, HashPolicy, HeaderOps, HeaderText, HttpManager, ServerTls};
use crate::dns::DnsCache;
use crate::listener::NetworkFilter;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// All listeners, and where a redirected connection finds its own.
#[derive(Default)]
pub struct ListenerTable {
    /// In the order of their names.
    pub all: Vec<Arc<Listener>>,
    /// Every listener by each of its addresses, for `use_original_dst` hand-off: exact
    /// address first, then the unspecified address of the same family with the same port.
    pub by_address: HashMap<SocketAddr, Arc<Listener>>,
}

impl ListenerTable {
    /// The listener that a connection to `destination` is handed to (Envoy's
    /// `use_original_dst`), or `None` when the accepting listener keeps it.
    pub fn for_destination(&self, destination: SocketAddr) -> Option<&Arc<Listener>> {
        self.by_address.get(&destination).or_else(|| {
            let any: IpAddr = match destination {
                SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
            };
            self.by_address
                .get(&SocketAddr::new(any, destination.port()))
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Unspecified,
    Inbound,
    Outbound,
}

pub struct Listener {
    pub name: Box<str>,
    /// `address` and `additional_addresses`.
    pub addresses: Vec<SocketAddr>,
    /// `bind_to_port`; false for listeners reached only by hand-off.
    pub bind: bool,
    pub transparent: bool,
    pub direction: Direction,
    /// `use_original_dst`: look for the listener of the original destination.
    pub hand_off: bool,
    /// The original-destination listener filter: recover the address before redirection.
    pub original_dst: bool,
    /// The header of a load balancer in front is read first.
    pub proxy_protocol: Option<ProxyProtocol>,
    pub tls_inspector: Option<InspectorPorts>,
    pub http_inspector: Option<InspectorPorts>,
    /// `listener_filters_timeout`; `None` waits without bound (Envoy: 0).
    pub inspect_timeout: Option<Duration>,
    /// When inspection times out: go on with what is known, or close.
    pub continue_on_inspect_timeout: bool,
    pub chains: ChainTable,
    /// Written when a connection ends without a filter chain of its own.
    pub access_logs: Box<[AccessLog]>,
    /// Hash of the source protobuf: tells whether an update changed this listener.
    pub hash: u64,
}

/// Envoy's `envoy.filters.listener.proxy_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Connections without a header pass, too.
    pub optional: bool,
}

/// Ports on which an inspector does not run (`filter_disabled` destination-port ranges).
#[derive(Clone, Debug, Default)]
pub struct InspectorPorts {
    /// Half-open `[start, end)`.
    pub disabled: Vec<std::ops::Range<u32>>,
}

impl InspectorPorts {
    pub fn enabled(&self, destination_port: u16) -> bool {
        !self
            .disabled
            .iter()
            .any(|range| range.contains(&u32::from(destination_port)))
    }

    /// Runs on exactly the ports on which this one does not.
    pub fn inverted(mut self) -> Self {
        self.disabled.sort_by_key(|range| range.start);
        let mut disabled = Vec::new();
        let mut next = 0;
        for range in self.disabled {
            if next < range.start {
                disabled.push(next..range.start);
            }
            next = next.max(range.end);
        }
        if next < 65_536 {
            disabled.push(next..65_536);
        }
        Self { disabled }
    }
}

/// What a filter chain is chosen by. Filled in by the inspectors.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    /// Original destination if recovered, else the local address.
    pub destination: SocketAddr,
    /// The client's address: what the PROXY protocol announced, else `peer`.
    pub source: SocketAddr,
    /// The other end of the socket (Envoy's direct remote address).
    pub peer: SocketAddr,
    /// SNI in lower case.
    pub server_name: Option<Box<str>>,
    pub transport: Transport,
    /// From the ClientHello, or `http/1.0`, `http/1.1`, `h2c` by the HTTP inspector.
    pub application_protocols: Vec<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    RawBuffer,
    Tls,
}

/// Filter chains with Envoy's matching order: destination port, destination prefix,
/// server name, transport protocol, application protocols, directly connected source,
/// source type, source prefix, source port. At each step the most specific wins.
#[derive(Default)]
pub struct ChainTable {
    pub chains: Vec<(ChainMatch, Arc<FilterChain>)>,
    pub default: Option<Arc<FilterChain>>,
}

/// One `FilterChainMatch`; an empty field matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChainMatch {
    pub destination_port: Option<u16>,
    pub destination_prefixes: Vec<IpPrefix>,
    /// Lower case; `*.example.com` is kept as `.example.com` with `wildcard` set.
    pub server_names: Vec<ServerName>,
    pub transport: Option<Transport>,
    pub application_protocols: Vec<Box<[u8]>>,
    pub direct_source_prefixes: Vec<IpPrefix>,
    pub source_type: SourceType,
    pub source_prefixes: Vec<IpPrefix>,
    pub source_ports: Vec<u16>,
}

impl ChainMatch {
    /// Whether some connection is for both, and for none of them rather: they share a value of
    /// each criterion, or both leave it open.
    pub fn overlaps(&self, other: &Self) -> bool {
        fn share<T: PartialEq>(one: &[T], other: &[T]) -> bool {
            (one.is_empty() && other.is_empty()) || one.iter().any(|value| other.contains(value))
        }
        self.destination_port == other.destination_port
            && share(&self.destination_prefixes, &other.destination_prefixes)
            && share(&self.server_names, &other.server_names)
            && self.transport == other.transport
            && share(&self.application_protocols, &other.application_protocols)
            && share(&self.direct_source_prefixes, &other.direct_source_prefixes)
            && self.source_type == other.source_type
            && share(&self.source_prefixes, &other.source_prefixes)
            && share(&self.source_ports, &other.source_ports)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    pub name: Box<str>,
    pub wildcard: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceType {
    #[default]
    Any,
    SameIpOrLoopback,
    External,
}

/// An address prefix, `10.0.0.0/8`.
#[derive(Clone, Copy, Debug)]
pub struct IpPrefix {
    pub address: IpAddr,
    pub length: u8,
}

/// What is behind the prefix does not count.
impl PartialEq for IpPrefix {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.network() == other.network()
    }
}

impl Eq for IpPrefix {}

impl IpPrefix {
    /// The address without what is behind the prefix.
    pub fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.length))
                    .unwrap_or(0);
                std::net::Ipv4Addr::from(u32::from(ip) & mask).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.length))
                    .unwrap_or(0);
                std::net::Ipv6Addr::from(u128::from(ip) & mask).into()
            }
        }
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        let other = Self {
            address: ip,
            length: self.length,
        };
        ip.is_ipv4() == self.address.is_ipv4() && other.network() == self.network()
    }
}

pub struct FilterChain {
    pub name: Box<str>,
    /// Terminate TLS with this; `None` reads plaintext (or relays TLS untouched).
    pub tls: Option<Arc<ServerTls>>,
    /// `transport_socket_connect_timeout`: bound on the TLS handshake.
    pub handshake_timeout: Option<Duration>,
    /// Istio's `istio-peer-exchange` over TCP precedes the terminal filter.
    pub peer_exchange: bool,
    /// Bytes that a TCP relay may hold of what it received (the listener's
    /// `per_connection_buffer_limit_bytes`, 1 MiB by default; 0: no limit but the relay's own).
    /// HTTP holds less than 64 KiB for a connection.
    pub buffer_limit: u32,
    /// Report Istio's TCP metrics (`istio.stats` network filter).
    pub istio_stats: Option<std::sync::Arc<super::StandardMetrics>>,
    /// Those that decide on a connection before the terminal one gets it, in their order.
    pub filters: Box<[NetworkFilter]>,
    pub terminal: Terminal,
    /// Hash of the source protobuf: connections of a chain whose hash is gone are drained.
    pub hash: u64,
}

/// The network filter that consumes the connection.
pub enum Terminal {
    Http(Arc<HttpManager>),
    Tcp(Arc<TcpProxy>),
}

pub struct TcpProxy {
    pub stat_prefix: Box<str>,
    /// At least one; weights are as configured.
    pub clusters: Box<[(ClusterId, u32)]>,
    pub total_weight: u32,
    /// `None` disables it; Envoy's default is one hour.
    pub idle_timeout: Option<Duration>,
    pub max_connect_attempts: u32,
    pub max_connection_duration: Option<Duration>,
    pub hash_policy: Box<[HashPolicy]>,
    pub sni_forward: Option<SniForward>,
    pub tunneling: Option<Tunneling>,
    pub access_logs: Box<[AccessLog]>,
}

/// `tunneling_config`: the upstream is a proxy that is asked for a tunnel.
pub struct Tunneling {
    /// Whom to connect to, with a port; operators are those of the connection.
    pub hostname: HeaderText,
    /// The path of a POST; `None`: CONNECT.
    pub post: Option<http::uri::PathAndQuery>,
    /// `headers_to_add`.
    pub headers: HeaderOps,
}

/// `sni_dynamic_forward_proxy` before the TCP proxy: resolves the connection's SNI.
#[derive(Clone)]
pub struct SniForward {
    pub cache: Arc<DnsCache>,
    /// The name is connected to at this port.
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inverted_inspector_runs_on_the_other_ports() {
        let ports = InspectorPorts {
            disabled: vec![9000..9001, 80..81],
        };
        let inverted = ports.clone().inverted();
        for port in [0, 79, 80, 81, 8999, 9000, 9001, 65_535] {
            assert_ne!(ports.enabled(port), inverted.enabled(port), "{port}");
        }
        let everywhere = InspectorPorts::default().inverted();
        assert!(!everywhere.enabled(0) && !everywhere.enabled(65_535));
    }

    #[test]
    fn chains_overlap_where_they_share_a_value_of_each_criterion() {
        let name = |name: &str| ServerName {
            name: name.into(),
            wildcard: false,
        };
        let prefix = |address: &str| IpPrefix {
            address: address.parse().unwrap(),
            length: 8,
        };
        let one = ChainMatch {
            destination_port: Some(443),
            destination_prefixes: vec![prefix("10.1.2.3")],
            server_names: vec![name("a"), name("b")],
            ..ChainMatch::default()
        };
        let with = |change: fn(&mut ChainMatch)| {
            let mut other = one.clone();
            change(&mut other);
            one.overlaps(&other) && other.overlaps(&one)
        };
        assert!(with(|_| ()));
        assert!(with(|other| drop(other.server_names.remove(0))));
        assert!(with(
            |other| other.destination_prefixes[0].address = [10, 9, 9, 9].into()
        ));
        assert!(!with(|other| other.server_names.clear()));
        assert!(!with(|other| other.destination_port = None));
        assert!(!with(|other| other.destination_prefixes[0].length = 9));
        assert!(!with(|other| other.source_ports.push(1)));
        assert!(!with(|other| other.source_type = SourceType::External));
    }
}
