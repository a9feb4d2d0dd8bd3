//! Choosing a filter chain, beside Envoy's way to do it: every chain is spread over a table with
//! one row for each combination of its criteria, and a connection walks down the columns, to the
//! most specific value that any row has, without a way back. Two chains with a row in common are
//! refused, as Envoy refuses them.
//!
//! An input is lines of words: `c` is a chain, `d` the default chain, `x` a connection. A word's
//! first letter tells the criterion: `p` destination port, `d` destination prefix, `n` server
//! name, `t` transport (`tr`, `tt`), `a` application protocol, `q` direct source, `y` source type
//! (`yl` local, `ye` external), `s` source, `o` source port.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meltemi_fuzz::{Words, plain_facts, tcp_filter};
use meltemi_proxy::compile::{self, Cx, Names, pb};
use meltemi_proxy::listener::select;
use meltemi_proxy::model::{ConnectionFacts, IpPrefix, Transport};
use pb::listener::filter_chain_match::ConnectionSourceType;
use pb::listener::{FilterChain, FilterChainMatch, Listener};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

const COLUMNS: usize = 9;
/// A row of the table; an empty value stands for all that no other row names.
type Row = [String; COLUMNS];
/// A table that would be larger says no more.
const MAX_ROWS: usize = 1024;
const MAX_CHAINS: usize = 12;

fuzz_target!(|input: &[u8]| {
    let mut chains = Vec::new();
    let mut default = false;
    let mut connections = Vec::new();
    for words in Words::lines(input) {
        match words.kind {
            'c' if chains.len() < MAX_CHAINS => chains.extend(criteria(&words)),
            'd' => default = true,
            'x' => connections.extend(facts(&words)),
            _ => {}
        }
    }
    if chains.is_empty() {
        return;
    }
    let Some(table) = spread(&chains) else { return };
    let listener = Listener {
        name: "fuzz".into(),
        address: Some(meltemi_fuzz::address(80)),
        filter_chains: (0..)
            .zip(&chains)
            .map(|(index, matches)| chain(index, matches.clone()))
            .collect(),
        default_filter_chain: default.then(|| chain(chains.len(), FilterChainMatch::default())),
        ..Listener::default()
    };
    let mut names = Names::default();
    let listener = match (
        compile::listener(listener, 0, &mut Cx::new(&mut names)),
        table,
    ) {
        (Ok(listener), Ok(table)) => (listener, table),
        (Err(_), Err(())) => return,
        (Ok(_), Err(())) => panic!("chains with rows in common are taken: {chains:?}"),
        (Err(error), Ok(_)) => panic!("{error} of {chains:?}"),
    };
    let (listener, table) = listener;
    for facts in connections {
        let ours = select(&listener.chains, &facts).map(|chain| chain.name.to_string());
        let theirs = walk(&table, &facts).or(default.then_some(chains.len()));
        assert_eq!(
            ours,
            theirs.map(|index| index.to_string()),
            "{facts:?} in {chains:#?}"
        );
    }
});

fn chain(index: usize, matches: FilterChainMatch) -> FilterChain {
    FilterChain {
        name: index.to_string(),
        filter_chain_match: Some(matches),
        filters: vec![tcp_filter()],
        ..FilterChain::default()
    }
}

/// What Envoy's own validation takes; anything else is no chain here.
fn criteria(words: &Words<'_>) -> Option<FilterChainMatch> {
    let mut matches = FilterChainMatch::default();
    for (key, value) in words.pairs() {
        match key {
            'p' => matches.destination_port = Some(wrapped(port(value)?.into())),
            'd' => matches.prefix_ranges.push(range(value)?),
            'n' if !value.is_empty()
                // Envoy takes `*.` for a wildcard that no name can meet, and `.a` for `*.a`.
                && value != "*."
                && !value.starts_with('.')
                && (!value.contains('*')
                    || value.starts_with("*.") && !value[1..].contains('*')) =>
            {
                matches.server_names.push(value.into());
            }
            't' => matches.transport_protocol = transport(value)?.into(),
            'a' if !value.is_empty() => matches.application_protocols.push(value.into()),
            'q' => matches.direct_source_prefix_ranges.push(range(value)?),
            'y' => matches.set_source_type(match value {
                "l" => ConnectionSourceType::SameIpOrLoopback,
                "e" => ConnectionSourceType::External,
                _ => return None,
            }),
            's' => matches.source_prefix_ranges.push(range(value)?),
            'o' => matches.source_ports.push(u32::from(port(value)?)),
            _ => return None,
        }
    }
    Some(matches)
}

fn port(value: &str) -> Option<u16> {
    value.parse().ok().filter(|port| *port > 0)
}

fn wrapped(value: u32) -> pb::wkt::UInt32Value {
    pb::wkt::UInt32Value { value }
}

fn transport(value: &str) -> Option<&'static str> {
    match value {
        "r" => Some("raw_buffer"),
        "t" => Some("tls"),
        _ => None,
    }
}

/// A prefix of length 0 stands beside "all", and Envoy's trie knows only one of them.
fn range(value: &str) -> Option<pb::core::CidrRange> {
    let (address, length) = value.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length: u32 = length.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (1..=longest)
        .contains(&length)
        .then(|| pb::core::CidrRange {
            address_prefix: address.to_string(),
            prefix_len: Some(wrapped(length)),
        })
}

fn facts(words: &Words<'_>) -> Option<ConnectionFacts> {
    let mut facts = plain_facts(SocketAddr::from(([192, 0, 2, 1], 1)));
    for (key, value) in words.pairs() {
        match key {
            'p' => facts.destination.set_port(port(value)?),
            'd' => facts.destination.set_ip(value.parse().ok()?),
            // No name begins with a dot; Envoy takes one that does for the wildcard itself.
            'n' if !value.is_empty() && !value.starts_with('.') => {
                facts.server_name = Some(value.to_ascii_lowercase().into());
            }
            't' if value == "t" => facts.transport = Transport::Tls,
            'a' if !value.is_empty() => facts.application_protocols.push(value.as_bytes().into()),
            'q' => facts.peer.set_ip(value.parse().ok()?),
            's' => facts.source.set_ip(value.parse().ok()?),
            'o' => facts.source.set_port(port(value)?),
            _ => {}
        }
    }
    Some(facts)
}

/// Rows and the chain of each; `Err`: two chains share one. `None`: too many.
fn spread(chains: &[FilterChainMatch]) -> Option<Result<HashMap<Row, usize>, ()>> {
    let mut table: HashMap<Row, usize> = HashMap::new();
    for (index, matches) in chains.iter().enumerate() {
        let columns = columns(matches);
        let count: usize = columns.iter().map(Vec::len).product();
        if count + table.len() > MAX_ROWS {
            return None;
        }
        for mut number in 0..count {
            let row: Row = std::array::from_fn(|column| {
                let values = &columns[column];
                let value = values[number % values.len()].clone();
                number /= values.len();
                value
            });
            if table
                .insert(row, index)
                .is_some_and(|former| former != index)
            {
                return Some(Err(()));
            }
        }
    }
    Some(Ok(table))
}

fn columns(matches: &FilterChainMatch) -> [Vec<String>; COLUMNS] {
    let ranges = |ranges: &[pb::core::CidrRange]| {
        let texts = ranges.iter().map(|range| {
            let address = range.address_prefix.parse().expect("an address");
            network(
                address,
                range.prefix_len.as_ref().map_or(0, |length| length.value),
            )
        });
        texts.collect::<Vec<_>>()
    };
    let names = matches.server_names.iter().map(|name| {
        let name = name.to_ascii_lowercase();
        name.strip_prefix('*').map_or(name.clone(), str::to_owned)
    });
    let mut all = [
        matches
            .destination_port
            .iter()
            .map(|port| port.value.to_string())
            .collect(),
        ranges(&matches.prefix_ranges),
        names.collect(),
        vec![matches.transport_protocol.clone()],
        matches.application_protocols.clone(),
        ranges(&matches.direct_source_prefix_ranges),
        vec![match matches.source_type() {
            ConnectionSourceType::Any => String::new(),
            other => other.as_str_name().to_owned(),
        }],
        ranges(&matches.source_prefix_ranges),
        matches.source_ports.iter().map(u32::to_string).collect(),
    ];
    for column in &mut all {
        if column.is_empty() {
            column.push(String::new());
        }
    }
    all
}

fn network(address: IpAddr, length: u32) -> String {
    let prefix = IpPrefix {
        address,
        length: length as u8,
    };
    format!("{}/{length}", prefix.network())
}

/// The most specific value of each column first, and the empty one last.
fn walk(table: &HashMap<Row, usize>, facts: &ConnectionFacts) -> Option<usize> {
    // Of the lengths that the column has.
    let networks = |column: usize, address: IpAddr| {
        let rows = table.keys().filter_map(|row| row[column].split_once('/'));
        let lengths: BTreeSet<u32> = rows.filter_map(|(_, length)| length.parse().ok()).collect();
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let lengths = lengths
            .into_iter()
            .rev()
            .filter(|length| *length <= longest);
        let texts = lengths.map(|length| network(address, length));
        texts.collect::<Vec<_>>()
    };
    let (source, destination) = (facts.source.ip(), facts.destination.ip());
    let kind = match source.is_loopback() || source == destination {
        true => ConnectionSourceType::SameIpOrLoopback,
        false => ConnectionSourceType::External,
    };
    let protocols = facts.application_protocols.iter();
    let wanted: [Vec<String>; COLUMNS] = [
        vec![facts.destination.port().to_string()],
        networks(1, destination),
        names(facts.server_name.as_deref().unwrap_or_default()),
        vec![match facts.transport {
            Transport::RawBuffer => "raw_buffer".into(),
            Transport::Tls => "tls".into(),
        }],
        protocols
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect(),
        networks(5, facts.peer.ip()),
        vec![kind.as_str_name().into()],
        networks(7, source),
        vec![facts.source.port().to_string()],
    ];
    let mut rows: Vec<(&Row, usize)> = table.iter().map(|(row, chain)| (row, *chain)).collect();
    for (column, values) in wanted.iter().enumerate() {
        let mut values = values.iter().map(String::as_str).chain([""]);
        let best = values.find(|value| rows.iter().any(|(row, _)| row[column] == *value))?;
        rows.retain(|(row, _)| row[column] == best);
    }
    rows.first().map(|(_, chain)| *chain)
}

/// The name, then what is behind each of its dots but a first and a last one, with the dot.
fn names(name: &str) -> Vec<String> {
    let dots = name.match_indices('.').map(|(at, _)| at);
    let within = dots.filter(|at| *at > 0 && *at + 1 < name.len());
    let all = std::iter::once(name).chain(within.map(|at| &name[at..]));
    all.filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}
