//! What the fuzz targets share: resources from bytes to the compiled model, as a proxy takes
//! them in, lines of words, and messages and facts that say as little as they can.

pub mod counting;
pub mod sealer;
pub mod tls;

use meltemi_proxy::compile::{self, Cx, Names, pb};
use meltemi_proxy::model::{ConnectionFacts, Direction, Transport};
use meltemi_proxy::telemetry::{ConnectionInfo, Protocol, StreamInfo};
use prost::{Message, Name};
use std::net::SocketAddr;
use std::sync::Arc;

/// The kinds of resources a control plane sends.
#[derive(Clone, Copy)]
pub enum Resource {
    Cluster,
    Endpoints,
    Listener,
    Routes,
    Secret,
}

impl Resource {
    /// By the first byte of an input.
    pub fn of(letter: u8) -> Option<Self> {
        Some(match letter {
            b'C' => Self::Cluster,
            b'E' => Self::Endpoints,
            b'L' => Self::Listener,
            b'R' => Self::Routes,
            b'S' => Self::Secret,
            _ => return None,
        })
    }

    fn type_name(self) -> String {
        match self {
            Self::Cluster => pb::cluster::Cluster::full_name(),
            Self::Endpoints => pb::endpoint::ClusterLoadAssignment::full_name(),
            Self::Listener => pb::listener::Listener::full_name(),
            Self::Routes => pb::route::RouteConfiguration::full_name(),
            Self::Secret => pb::tls::Secret::full_name(),
        }
    }

    /// The encoded message of its JSON form, where that is valid. What was encoded can be
    /// shown, and the same again after another round.
    pub fn encode(self, text: &str) -> Option<Vec<u8>> {
        let name = self.type_name();
        let bytes = meltemi_schema::encode_text(&name, text).ok()?;
        let shown = meltemi_schema::decode(&name, &bytes).expect("what was encoded can be decoded");
        let again = meltemi_schema::encode(&name, &shown).expect("what was decoded can be encoded");
        let shown_again =
            meltemi_schema::decode(&name, &again).expect("what was encoded can be decoded");
        assert_eq!(shown, shown_again);
        Some(bytes)
    }

    /// Decodes and compiles; whatever the bytes are, this returns.
    pub fn ingest(self, bytes: &[u8]) {
        let mut names = Names::default();
        let mut cx = Cx::new(&mut names);
        let hash = compile::content_hash(bytes);
        match self {
            Self::Cluster => decoded(bytes, |value| {
                compile::cluster(value, hash, &mut cx).map(drop)
            }),
            Self::Endpoints => decoded(bytes, |value| {
                compile::assignment::assignment(value, false, &mut cx).map(drop)
            }),
            Self::Listener => decoded(bytes, |value| {
                compile::listener(value, hash, &mut cx).map(drop)
            }),
            Self::Routes => decoded(bytes, |value| {
                compile::RouteFrame::compile(value, &mut cx).map(drop)
            }),
            // Its files are not read: a fuzzer must not open whatever it names.
            Self::Secret => decoded(bytes, |value| {
                compile::secret::secret_source(value).map(drop)
            }),
        }
    }
}

/// A refusal must be able to explain itself.
fn decoded<M: Message + Default>(bytes: &[u8], compile: impl FnOnce(M) -> compile::Result<()>) {
    if let Ok(value) = M::decode(bytes)
        && let Err(error) = compile(value)
    {
        assert!(
            !error.to_string().trim().is_empty(),
            "a refusal without a reason"
        );
    }
}

/// A line of words that are separated by spaces. Its first letter says what it is about; the
/// first letter of each further word, what the rest of the word is.
pub struct Words<'a> {
    pub kind: char,
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// Lines that are no text are left out.
    pub fn lines(input: &'a [u8]) -> impl Iterator<Item = Self> {
        let lines = input.split(|byte| *byte == b'\n');
        lines.filter_map(|line| {
            let line = std::str::from_utf8(line).ok()?;
            let kind = line.chars().next()?;
            Some(Self {
                kind,
                rest: &line[kind.len_utf8()..],
            })
        })
    }

    pub fn all(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.rest.split(' ').filter(|word| !word.is_empty())
    }

    pub fn pairs(&self) -> impl Iterator<Item = (char, &'a str)> + use<'a> {
        self.all().map(|word| {
            let mut letters = word.chars();
            (letters.next().unwrap_or_default(), letters.as_str())
        })
    }

    /// What follows the first letter, as it stands there.
    pub fn text(&self) -> &'a str {
        self.rest
    }
}

/// A loopback address of a listener.
pub fn address(port: u32) -> pb::core::Address {
    use pb::core::{SocketAddress, address, socket_address};
    pb::core::Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: "127.0.0.1".into(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        })),
    }
}

/// A network filter with this configuration.
pub fn filter<M: Message + Name>(config: &M) -> pb::listener::Filter {
    pb::listener::Filter {
        name: "filter".into(),
        config_type: Some(pb::listener::filter::ConfigType::TypedConfig(any(config))),
    }
}

pub fn any<M: Message + Name>(message: &M) -> pb::wkt::Any {
    pb::wkt::Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

/// A relay to a cluster.
pub fn tcp_filter() -> pb::listener::Filter {
    use pb::tcp::{TcpProxy, tcp_proxy::ClusterSpecifier};
    filter(&TcpProxy {
        stat_prefix: "tcp".into(),
        cluster_specifier: Some(ClusterSpecifier::Cluster("cluster".into())),
        ..TcpProxy::default()
    })
}

/// Every cut of a short input, some of a long one.
pub fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by(1 + length / 64)
}

/// A plain connection whose ends are all the same.
pub fn plain_facts(any: SocketAddr) -> ConnectionFacts {
    ConnectionFacts {
        destination: any,
        source: any,
        peer: any,
        server_name: None,
        transport: Transport::RawBuffer,
        application_protocols: Vec::new(),
    }
}

/// An exchange of which nothing is known yet.
pub fn exchange() -> StreamInfo {
    let any = SocketAddr::from(([127, 0, 0, 1], 80));
    let facts = plain_facts(any);
    let connection = ConnectionInfo::new(facts, any, Direction::Outbound, "");
    StreamInfo::new(Arc::new(connection), Protocol::Http11)
}
