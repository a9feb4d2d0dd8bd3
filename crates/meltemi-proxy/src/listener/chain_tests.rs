//! Istio's inbound chains by the book, and random tables against Envoy's own way of nested
//! maps.

use super::*;
use crate::model::{ClusterId, ServerName, TcpProxy, Terminal, Transport};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn chain(name: &str) -> Arc<FilterChain> {
    Arc::new(FilterChain {
        name: name.into(),
        tls: None,
        handshake_timeout: None,
        peer_exchange: false,
        buffer_limit: 1 << 20,
        istio_stats: None,
        filters: Box::default(),
        terminal: Terminal::Tcp(Arc::new(TcpProxy {
            stat_prefix: name.into(),
            clusters: [(ClusterId(0), 1)].into(),
            total_weight: 1,
            idle_timeout: None,
            max_connect_attempts: 1,
            max_connection_duration: None,
            hash_policy: [].into(),
            sni_forward: None,
            tunneling: None,
            access_logs: [].into(),
        })),
        hash: 0,
    })
}

fn protocols(names: &[&str]) -> Vec<Box<[u8]>> {
    names.iter().map(|name| name.as_bytes().into()).collect()
}

fn facts(port: u16, transport: Transport, alpn: &[&str]) -> ConnectionFacts {
    ConnectionFacts {
        destination: ([10, 98, 0, 5], port).into(),
        source: ([10, 98, 0, 6], 40000).into(),
        peer: ([10, 98, 0, 6], 40000).into(),
        server_name: None,
        transport,
        application_protocols: protocols(alpn),
    }
}

fn name<'a>(table: &'a ChainTable, facts: &ConnectionFacts) -> &'a str {
    select(table, facts).map_or("none", |chain| &chain.name)
}

/// virtualInbound as istiod sends it for a workload that serves 9080.
fn virtual_inbound() -> ChainTable {
    let mut chains = Vec::new();
    let mut add = |name: &str, port: Option<u16>, transport: Option<Transport>, alpn: &[&str]| {
        let entry = ChainMatch {
            destination_port: port,
            transport,
            application_protocols: protocols(alpn),
            ..ChainMatch::default()
        };
        chains.push((entry, chain(name)));
    };
    let (tls, raw) = (Some(Transport::Tls), Some(Transport::RawBuffer));
    let http = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
    add("blackhole", Some(15006), None, &[]);
    add("catchall-http-tls", None, tls, &http);
    add("catchall-http", None, raw, &["http/1.1", "h2c"]);
    add(
        "catchall-tcp-mtls",
        None,
        tls,
        &["istio-peer-exchange", "istio"],
    );
    add("catchall-tcp", None, raw, &[]);
    add("catchall-tls", None, tls, &[]);
    add(
        "9080-mtls",
        Some(9080),
        tls,
        &["istio", "istio-peer-exchange", http[0], http[1], http[2]],
    );
    add("9080", Some(9080), raw, &[]);
    ChainTable {
        chains,
        default: None,
    }
}

#[test]
fn istios_inbound_chains_are_chosen_as_by_envoy() {
    let table = virtual_inbound();
    use Transport::{RawBuffer, Tls};
    for (port, transport, alpn, wanted) in [
        (15006, RawBuffer, vec![], "blackhole"),
        (15006, Tls, vec!["istio"], "blackhole"),
        (9080, RawBuffer, vec![], "9080"),
        (9080, RawBuffer, vec!["http/1.1"], "9080"),
        (
            9080,
            Tls,
            vec!["istio-http/1.1", "istio", "http/1.1"],
            "9080-mtls",
        ),
        // The port's chains hide the catch-all ones, though one of those would match.
        (9080, Tls, vec!["h2"], "none"),
        (9080, Tls, vec![], "none"),
        (1234, RawBuffer, vec![], "catchall-tcp"),
        (1234, RawBuffer, vec!["http/1.1"], "catchall-http"),
        (1234, RawBuffer, vec!["h2c"], "catchall-http"),
        (1234, RawBuffer, vec!["http/1.0"], "catchall-tcp"),
        (
            1234,
            Tls,
            vec!["istio-peer-exchange", "istio"],
            "catchall-tcp-mtls",
        ),
        (
            1234,
            Tls,
            vec!["istio-h2", "istio", "h2"],
            "catchall-http-tls",
        ),
        // The client's first protocol that a chain names decides.
        (
            1234,
            Tls,
            vec!["x", "istio", "istio-h2"],
            "catchall-tcp-mtls",
        ),
        (1234, Tls, vec!["h2", "http/1.1"], "catchall-tls"),
        (1234, Tls, vec![], "catchall-tls"),
    ] {
        assert_eq!(
            name(&table, &facts(port, transport, &alpn)),
            wanted,
            "{port} {transport:?} {alpn:?}"
        );
    }
}

#[test]
fn exact_server_names_beat_wildcards_and_longer_wildcards_shorter_ones() {
    let named = |names: &[&str]| ChainMatch {
        server_names: names
            .iter()
            .map(|name| ServerName {
                name: name.trim_start_matches('*').into(),
                wildcard: name.starts_with('*'),
            })
            .collect(),
        ..ChainMatch::default()
    };
    let table = ChainTable {
        chains: vec![
            (named(&["*.com"]), chain("com")),
            (named(&["a.example.com", "*.b.example.com"]), chain("a")),
            (named(&["*.example.com"]), chain("example")),
            (named(&[]), chain("any")),
        ],
        default: Some(chain("default")),
    };
    for (sni, wanted) in [
        (Some("a.example.com"), "a"),
        (Some("x.b.example.com"), "a"),
        (Some("b.example.com"), "example"),
        (Some("other.com"), "com"),
        (Some("example.org"), "any"),
        (None, "any"),
    ] {
        let facts = ConnectionFacts {
            server_name: sni.map(Into::into),
            ..facts(443, Transport::Tls, &[])
        };
        assert_eq!(name(&table, &facts), wanted, "{sni:?}");
    }
}

/// Envoy's FilterChainManagerImpl: nested lookups, each in its own map. Lists of one chain
/// are multiplied out; the first chain in a leaf wins.
fn reference<'a>(table: &'a ChainTable, facts: &ConnectionFacts) -> Option<&'a Arc<FilterChain>> {
    fn group<'a, K: Ord>(
        from: &[&'a Entry],
        keys: impl Fn(&ChainMatch) -> Vec<K>,
    ) -> BTreeMap<K, Vec<&'a Entry>> {
        let mut map: BTreeMap<K, Vec<&'a Entry>> = BTreeMap::new();
        for entry in from {
            for key in keys(&entry.0) {
                map.entry(key).or_default().push(entry);
            }
        }
        map
    }
    fn prefixes(list: &[IpPrefix]) -> Vec<(u8, u32)> {
        if list.is_empty() {
            return vec![(0, 0)];
        }
        list.iter()
            .map(|prefix| {
                let IpAddr::V4(net) = prefix.address else {
                    unreachable!()
                };
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(prefix.length))
                    .unwrap_or(0);
                (prefix.length, u32::from(net) & mask)
            })
            .collect()
    }
    fn trie(map: BTreeMap<(u8, u32), Vec<&Entry>>, ip: IpAddr) -> Vec<&Entry> {
        let IpAddr::V4(ip) = ip else { unreachable!() };
        map.into_iter()
            .rev()
            .find(|((length, net), _)| {
                let mask = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
                u32::from(ip) & mask == *net
            })
            .map(|(_, list)| list)
            .unwrap_or_default()
    }
    let inner = || {
        let all: Vec<_> = table.chains.iter().collect();
        let mut ports = group(&all, |m| vec![m.destination_port.unwrap_or(0)]);
        let list = ports
            .remove(&facts.destination.port())
            .or_else(|| ports.remove(&0))?;
        let list = trie(
            group(&list, |m| prefixes(&m.destination_prefixes)),
            facts.destination.ip(),
        );
        let mut names = group(&list, |m| {
            if m.server_names.is_empty() {
                vec![String::new()]
            } else {
                m.server_names
                    .iter()
                    .map(|name| name.name.to_string())
                    .collect()
            }
        });
        let sni = facts.server_name.as_deref().unwrap_or("");
        let mut keys = vec![sni.to_owned()];
        keys.extend(
            sni.char_indices()
                .skip(1)
                .filter(|(_, c)| *c == '.')
                .map(|(at, _)| sni[at..].to_owned()),
        );
        keys.push(String::new());
        let list = keys.iter().find_map(|key| names.remove(key))?;
        let mut transports = group(&list, |m| vec![m.transport.map(|t| t as u8)]);
        let list = transports
            .remove(&Some(facts.transport as u8))
            .or_else(|| transports.remove(&None))?;
        let mut alpn = group(&list, |m| {
            if m.application_protocols.is_empty() {
                vec![Box::from([].as_slice())]
            } else {
                m.application_protocols.clone()
            }
        });
        let list = facts
            .application_protocols
            .iter()
            .find_map(|key| alpn.remove(key))
            .or_else(|| alpn.remove([].as_slice()))?;
        let list = trie(
            group(&list, |m| prefixes(&m.direct_source_prefixes)),
            facts.peer.ip(),
        );
        let mut types = group(&list, |m| vec![m.source_type as u8]);
        let local = facts.source.ip().is_loopback() || facts.source.ip() == facts.destination.ip();
        let kind = if local {
            SourceType::SameIpOrLoopback
        } else {
            SourceType::External
        };
        let list = types
            .remove(&(kind as u8))
            .or_else(|| types.remove(&(SourceType::Any as u8)))?;
        let list = trie(
            group(&list, |m| prefixes(&m.source_prefixes)),
            facts.source.ip(),
        );
        let mut ports = group(&list, |m| {
            if m.source_ports.is_empty() {
                vec![0]
            } else {
                m.source_ports.clone()
            }
        });
        let list = ports
            .remove(&facts.source.port())
            .or_else(|| ports.remove(&0))?;
        list.first().map(|(_, chain)| chain)
    };
    inner().or(table.default.as_ref())
}

fn prefix() -> impl Strategy<Value = IpPrefix> {
    (
        prop_oneof![Just(10u8), Just(127)],
        0u8..3,
        prop_oneof![Just(0u8), Just(8), Just(24), Just(32)],
    )
        .prop_map(|(first, last, length)| IpPrefix {
            address: [first, 0, 0, last].into(),
            length,
        })
}

fn server_names() -> impl Strategy<Value = Vec<ServerName>> {
    let name = prop_oneof![Just(".com"), Just(".b.com"), Just("a.b.com"), Just("b.com")].prop_map(
        |name| ServerName {
            name: name.into(),
            wildcard: name.starts_with('.'),
        },
    );
    prop::collection::vec(name, 0..3)
}

fn alpn(most: usize) -> impl Strategy<Value = Vec<Box<[u8]>>> {
    let name = prop_oneof![Just("h2"), Just("istio"), Just("http/1.1")]
        .prop_map(|name| name.as_bytes().into());
    prop::collection::vec(name, 0..most)
}

fn transport() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Tls), Just(Transport::RawBuffer)]
}

fn chain_match() -> impl Strategy<Value = ChainMatch> {
    (
        prop::option::of(80u16..82),
        prop::collection::vec(prefix(), 0..2),
        server_names(),
        prop::option::of(transport()),
        alpn(2),
        prop::collection::vec(prefix(), 0..2),
        prop_oneof![
            Just(SourceType::Any),
            Just(SourceType::SameIpOrLoopback),
            Just(SourceType::External)
        ],
        prop::collection::vec(prefix(), 0..2),
        prop::collection::vec(1u16..3, 0..2),
    )
        .prop_map(|parts| ChainMatch {
            destination_port: parts.0,
            destination_prefixes: parts.1,
            server_names: parts.2,
            transport: parts.3,
            application_protocols: parts.4,
            direct_source_prefixes: parts.5,
            source_type: parts.6,
            source_prefixes: parts.7,
            source_ports: parts.8,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_choice_is_envoys(
        matches in prop::collection::vec(chain_match(), 0..8),
        port in 79u16..82,
        (to, from) in (prop_oneof![Just([10u8, 0, 0, 1]), Just([127, 0, 0, 1])], prop_oneof![Just([10u8, 0, 0, 1]), Just([10, 0, 0, 2]), Just([127, 0, 0, 1]), Just([9, 9, 9, 9])]),
        direct in prop_oneof![Just([10u8, 0, 0, 1]), Just([10, 0, 0, 2]), Just([9, 9, 9, 9])],
        source_port in 1u16..4,
        sni in prop_oneof![Just(None), Just(Some("a.b.com")), Just(Some("c.com")), Just(Some("x.org"))],
        transport in transport(),
        offered in alpn(3),
        has_default in any::<bool>(),
    ) {
        let table = ChainTable {
            chains: matches.into_iter().enumerate().map(|(index, m)| (m, chain(&index.to_string()))).collect(),
            default: has_default.then(|| chain("default")),
        };
        let facts = ConnectionFacts {
            destination: (to, port).into(),
            source: (from, source_port).into(),
            peer: (direct, source_port).into(),
            server_name: sni.map(Into::into),
            transport,
            application_protocols: offered,
        };
        let wanted = reference(&table, &facts).map(|chain| chain.name.clone());
        prop_assert_eq!(select(&table, &facts).map(|chain| chain.name.clone()), wanted);
    }
}
