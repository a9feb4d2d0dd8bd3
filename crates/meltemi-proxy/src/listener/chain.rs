//! Choosing a filter chain, exactly as Envoy does.
//!
//! The criteria are looked at in Envoy's order, and after each only the chains with the
//! most specific match at that step remain: there is no way back to a less specific one
//! when a later criterion fails. A chain for port 9080 that wants TLS hides the catch-all
//! chain from plaintext to port 9080.

use crate::model::{ChainMatch, ChainTable, ConnectionFacts, FilterChain, IpPrefix, SourceType};
use smallvec::SmallVec;
use std::net::IpAddr;
use std::sync::Arc;

type Entry = (ChainMatch, Arc<FilterChain>);
/// Chains that are left; a sidecar's listeners fit without allocation.
type Candidates<'a> = SmallVec<[&'a Entry; 32]>;

/// The chain for a connection, or `None` when nothing matches and there is no default.
pub fn select<'a>(table: &'a ChainTable, facts: &ConnectionFacts) -> Option<&'a Arc<FilterChain>> {
    let mut left: Candidates<'a> = table.chains.iter().collect();

    let port = facts.destination.port();
    keep_best(&mut left, |chain| match chain.destination_port {
        Some(wanted) if wanted == port => Some(1),
        Some(_) => None,
        None => Some(0),
    });
    keep_best(&mut left, |chain| {
        longest(&chain.destination_prefixes, facts.destination.ip())
    });
    keep_best(&mut left, |chain| {
        server_name(chain, facts.server_name.as_deref().unwrap_or_default())
    });
    keep_best(&mut left, |chain| match chain.transport {
        Some(wanted) if wanted == facts.transport => Some(1),
        Some(_) => None,
        None => Some(0),
    });
    keep_best(&mut left, |chain| {
        application_protocol(chain, &facts.application_protocols)
    });
    keep_best(&mut left, |chain| {
        longest(&chain.direct_source_prefixes, facts.peer.ip())
    });
    let local = facts.source.ip().is_loopback() || facts.source.ip() == facts.destination.ip();
    keep_best(&mut left, |chain| match chain.source_type {
        SourceType::Any => Some(0),
        SourceType::SameIpOrLoopback => local.then_some(1),
        SourceType::External => (!local).then_some(1),
    });
    keep_best(&mut left, |chain| {
        longest(&chain.source_prefixes, facts.source.ip())
    });
    keep_best(&mut left, |chain| {
        if chain.source_ports.is_empty() {
            Some(0)
        } else {
            chain
                .source_ports
                .contains(&facts.source.port())
                .then_some(1)
        }
    });
    left.first()
        .map(|(_, chain)| chain)
        .or(table.default.as_ref())
}

/// Keeps the chains with the highest rank; those without one go.
fn keep_best(left: &mut Candidates<'_>, rank: impl Fn(&ChainMatch) -> Option<usize>) {
    let Some(best) = left.iter().filter_map(|(chain, _)| rank(chain)).max() else {
        left.clear();
        return;
    };
    left.retain(|entry| rank(&entry.0) == Some(best));
}

/// Length of the longest prefix that holds the address; no prefix counts as `/0`.
fn longest(prefixes: &[IpPrefix], ip: IpAddr) -> Option<usize> {
    if prefixes.is_empty() {
        return Some(0);
    }
    prefixes
        .iter()
        .filter(|prefix| prefix.contains(ip))
        .map(|prefix| usize::from(prefix.length))
        .max()
}

/// An exact name beats every wildcard, a longer wildcard a shorter one, none comes last.
fn server_name(chain: &ChainMatch, name: &str) -> Option<usize> {
    if chain.server_names.is_empty() {
        return Some(0);
    }
    chain
        .server_names
        .iter()
        .filter_map(|wanted| {
            if wanted.wildcard {
                // `.example.com` matches below it, with at least one character before.
                (name.len() > wanted.name.len() && name.ends_with(&*wanted.name))
                    .then_some(wanted.name.len())
            } else {
                (*name == *wanted.name && !name.is_empty()).then_some(usize::MAX)
            }
        })
        .max()
}

/// The first of the client's protocols that any chain names decides.
fn application_protocol(chain: &ChainMatch, offered: &[Box<[u8]>]) -> Option<usize> {
    if chain.application_protocols.is_empty() {
        return Some(0);
    }
    offered
        .iter()
        .position(|protocol| chain.application_protocols.contains(protocol))
        .map(|position| offered.len() - position)
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
