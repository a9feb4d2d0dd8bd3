//! The proxy's decisions without its sockets: configuration is compiled as ever, and a call is
//! led through the code that serves connections and requests, up to the cluster.
//!
//! For tools that say what a configuration does. Nothing here is on the way of real traffic.

use crate::compile::{self, Cx, Error, Names, pb};
use crate::config::Kind;
use crate::http::{self, Mismatch, Routed};
use crate::listener::{self, hand_off};
use crate::model::{
    ClusterId, ConnectionFacts, Direction, FilterChain, Listener, ListenerTable, Route, RouteTable,
    ServerTls, Snapshot, TcpProxy, Terminal, Transport,
};
use crate::telemetry::{ConnectionInfo, Protocol, TlsInfo};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

/// A resource that the proxy does not take.
#[derive(Debug)]
pub struct Refused {
    pub kind: Kind,
    pub name: String,
    pub error: Error,
}

/// Everything a proxy was sent, compiled.
pub struct Offline {
    snapshot: Snapshot,
    /// By [`ClusterId`].
    cluster_names: Vec<Box<str>>,
    refused: Vec<Refused>,
}

/// A client's TLS.
#[derive(Clone, Debug, Default)]
pub struct ClientHello {
    pub server_name: Option<Box<str>>,
    /// ALPN, in the client's order.
    pub protocols: Vec<Box<[u8]>>,
    /// SPIFFE id of the client's certificate; `None`: it shows none.
    pub identity: Option<Arc<str>>,
}

/// A connection, and the request on it.
pub struct Call {
    /// Outbound calls are the workload's own (and all calls of a gateway), inbound ones come to
    /// the workload. Redirected connections are taken where interception leads them.
    pub direction: Direction,
    /// Where the client connects to.
    pub destination: SocketAddr,
    pub source: SocketAddr,
    pub tls: Option<ClientHello>,
    /// `None`: bytes that are not HTTP.
    pub request: Option<(Protocol, ::http::request::Parts)>,
}

/// A filter chain, and where it stands in its listener's list; `None` is the default chain.
#[derive(Clone, Copy)]
pub struct Chain<'a> {
    pub chain: &'a Arc<FilterChain>,
    pub position: Option<usize>,
}

/// How far a call comes.
pub struct Decision<'a> {
    pub listener: Option<&'a Arc<Listener>>,
    pub chain: Option<Chain<'a>>,
    pub outcome: Outcome<'a>,
}

/// Where a call ends.
pub enum Outcome<'a> {
    /// Nothing listens at the address.
    NoListener,
    /// The listener has no filter chain for the connection.
    NoChain,
    /// The handshake with this context fails.
    Handshake(&'a ServerTls, HandshakeFailure),
    /// The connection manager meets something other than HTTP.
    NotHttp,
    /// A policy closes the connection (Envoy's details).
    Denied(Cow<'static, str>),
    /// The connection is relayed.
    Relayed(&'a TcpProxy),
    /// The connection manager refuses the request by itself: status, Envoy's details.
    Refused(::http::StatusCode, Cow<'static, str>),
    /// The manager's route table is not there (its name).
    NoTable(&'a str),
    /// A request, as far as it comes in a route table.
    Request(Request<'a>),
}

/// Why a TLS handshake fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The client speaks plaintext.
    Plaintext,
    /// The client shows no certificate.
    NoCertificate,
}

/// A request in a route table.
pub struct Request<'a> {
    pub table: &'a Arc<RouteTable>,
    /// Position of the virtual host; `None`: none has the authority.
    pub host: Option<usize>,
    /// The virtual host takes TLS only: the request is redirected.
    pub requires_tls: bool,
    /// The route, and its position in the virtual host.
    pub route: Option<(usize, &'a Arc<Route>)>,
    /// The routes before it, and why they do not take the request.
    pub passed_over: Vec<(usize, Mismatch<'a>)>,
    /// Envoy's details of the policy that denies the request.
    pub denied: Option<Cow<'static, str>>,
}

impl Offline {
    /// Compiles what a control plane sends. A resource that cannot be honoured is left out.
    pub fn new(
        listeners: impl IntoIterator<Item = pb::listener::Listener>,
        routes: impl IntoIterator<Item = pb::route::RouteConfiguration>,
        clusters: impl IntoIterator<Item = pb::cluster::Cluster>,
    ) -> Self {
        let mut names = Names::default();
        let mut refused = Vec::new();
        let mut table = ListenerTable::default();
        for message in listeners {
            let name = message.name.clone();
            match compile::listener(message, 0, &mut Cx::new(&mut names)) {
                Ok(listener) => {
                    let listener = Arc::new(listener);
                    for address in &listener.addresses {
                        table.by_address.insert(*address, listener.clone());
                    }
                    table.all.push(listener);
                }
                Err(error) => refused.push(Refused {
                    kind: Kind::Listener,
                    name,
                    error,
                }),
            }
        }
        let mut tables = Vec::new();
        for message in routes {
            let name = message.name.clone();
            match compile::route_table(message, &mut Cx::new(&mut names)) {
                Ok(table) => tables.push((names.route_table(&name), Arc::new(table))),
                Err(error) => refused.push(Refused {
                    kind: Kind::Route,
                    name,
                    error,
                }),
            }
        }
        for message in clusters {
            let name = message.name.clone();
            if let Err(error) = compile::cluster(message, 0, &mut Cx::new(&mut names)) {
                refused.push(Refused {
                    kind: Kind::Cluster,
                    name,
                    error,
                });
            }
        }
        let mut slots = vec![None; names.route_table_count()];
        for (id, table) in tables {
            slots[id.0 as usize] = Some(table);
        }
        Self {
            snapshot: Snapshot {
                generation: 1,
                listeners: Arc::new(table),
                routes: slots.into(),
                clusters: Arc::default(),
            },
            cluster_names: names.cluster_names(),
            refused,
        }
    }

    /// What the proxy does not take, and why.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// The name of a cluster that a route or a TCP proxy leads to.
    pub fn cluster_name(&self, id: ClusterId) -> &str {
        self.cluster_names
            .get(id.0 as usize)
            .map_or("", |name| name)
    }

    /// What the proxy does with a call.
    pub fn decide(&self, call: &Call) -> Decision<'_> {
        let Some(listener) = self.listener(call) else {
            return Decision {
                listener: None,
                chain: None,
                outcome: Outcome::NoListener,
            };
        };
        let facts = facts(call, listener);
        let Some(chain) = listener::select(&listener.chains, &facts) else {
            return Decision {
                listener: Some(listener),
                chain: None,
                outcome: Outcome::NoChain,
            };
        };
        let mut chains = listener.chains.chains.iter();
        let position = chains.position(|(_, known)| Arc::ptr_eq(known, chain));
        Decision {
            listener: Some(listener),
            chain: Some(Chain { chain, position }),
            outcome: self.serve(call, listener, chain, facts),
        }
    }

    /// The listener that accepts the connection, or the one that it is handed to.
    fn listener(&self, call: &Call) -> Option<&Arc<Listener>> {
        let listeners = &*self.snapshot.listeners;
        let intercepting = listeners.all.iter().find(|listener| {
            let redirected = listener.hand_off || listener.original_dst;
            listener.bind && redirected && listener.direction == call.direction
        });
        match intercepting {
            Some(accepting) => Some(hand_off(accepting, call.destination, listeners)),
            None => listeners
                .for_destination(call.destination)
                .filter(|listener| listener.bind),
        }
    }

    fn serve<'a>(
        &'a self,
        call: &Call,
        listener: &Listener,
        chain: &'a FilterChain,
        facts: ConnectionFacts,
    ) -> Outcome<'a> {
        let tls = match (&chain.tls, &call.tls) {
            (None, _) => None,
            (Some(context), None) => {
                return Outcome::Handshake(context, HandshakeFailure::Plaintext);
            }
            (Some(context), Some(hello))
                if context.requires_client_cert && hello.identity.is_none() =>
            {
                return Outcome::Handshake(context, HandshakeFailure::NoCertificate);
            }
            (Some(_), Some(hello)) => Some(TlsInfo {
                peer_uri: hello.identity.clone(),
                ..TlsInfo::default()
            }),
        };
        let encrypted = call.tls.is_some() && tls.is_none();
        let mut info =
            ConnectionInfo::new(facts, call.destination, listener.direction, &chain.name);
        info.tls = tls;
        let denied = chain.filters.iter().find_map(|filter| filter.denies(&info));
        if let Some(details) = denied {
            return Outcome::Denied(details);
        }
        let manager = match &chain.terminal {
            Terminal::Tcp(proxy) => return Outcome::Relayed(proxy),
            Terminal::Http(manager) => manager,
        };
        let Some((protocol, parts)) = call.request.as_ref().filter(|_| !encrypted) else {
            return Outcome::NotHttp;
        };
        match http::route(manager, &info, &self.snapshot, *protocol, parts.clone()) {
            Routed::Refused(status, details) => Outcome::Refused(status, details),
            Routed::NoTable(name) => Outcome::NoTable(name),
            Routed::Request(request) => Outcome::Request(request),
        }
    }
}

/// What the listener's inspectors find out about a connection.
fn facts(call: &Call, listener: &Listener) -> ConnectionFacts {
    let port = call.destination.port();
    let active = |inspector: &Option<crate::model::InspectorPorts>| {
        inspector.as_ref().is_some_and(|ports| ports.enabled(port))
    };
    let mut facts = ConnectionFacts {
        destination: call.destination,
        source: call.source,
        peer: call.source,
        server_name: None,
        transport: Transport::RawBuffer,
        application_protocols: Vec::new(),
    };
    match (&call.tls, &call.request) {
        (Some(hello), _) if active(&listener.tls_inspector) => {
            facts.transport = Transport::Tls;
            facts.server_name.clone_from(&hello.server_name);
            facts.application_protocols.clone_from(&hello.protocols);
        }
        (None, Some((protocol, _))) if active(&listener.http_inspector) => {
            let name: &[u8] = match protocol {
                Protocol::Http10 => b"http/1.0",
                Protocol::Http2 => b"h2c",
                Protocol::Http11 | Protocol::Tcp => b"http/1.1",
            };
            facts.application_protocols.push(name.into());
        }
        _ => {}
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Direction;
    use prost::Message;

    const LISTENER: &str = r#"{
        "name": "l",
        "traffic_direction": "INBOUND",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 7001}},
        "filter_chains": [{"filters": [
            {"name": "policy", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
                "stat_prefix": "tcp.",
                "rules": {"action": "DENY", "policies": {"not-from-there": {
                    "permissions": [{"any": true}],
                    "principals": [{"direct_remote_ip": {"address_prefix": "10.0.0.9", "prefix_len": 32}}]
                }}}
            }},
            {"name": "relay", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "tcp", "cluster": "c"
            }}
        ]}]
    }"#;

    #[test]
    fn a_connection_that_a_policy_denies_is_not_relayed() {
        let bytes =
            meltemi_schema::encode_text("envoy.config.listener.v3.Listener", LISTENER).unwrap();
        let listener = pb::listener::Listener::decode(&*bytes).unwrap();
        let offline = Offline::new([listener], [], []);
        assert!(offline.refused().is_empty());
        let call = |source: &str| Call {
            direction: Direction::Inbound,
            destination: "127.0.0.1:7001".parse().unwrap(),
            source: source.parse().unwrap(),
            tls: None,
            request: None,
        };
        let denied = call("10.0.0.9:4711");
        let Outcome::Denied(details) = offline.decide(&denied).outcome else {
            panic!("it is not denied");
        };
        assert_eq!(details, "rbac_access_denied_matched_policy[not-from-there]");
        let relayed = call("10.0.0.8:4711");
        let outcome = offline.decide(&relayed).outcome;
        assert!(matches!(outcome, Outcome::Relayed(_)));
    }
}
