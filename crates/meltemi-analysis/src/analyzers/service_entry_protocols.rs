//! ServiceEntries that give one host and port different protocols.

use std::collections::{BTreeMap, BTreeSet};

use meltemi_api::networking::ServiceEntry;

use crate::code::CONFLICTING_ENTRY_PROTOCOLS;
use crate::hosts::scopes;
use crate::report::at;
use crate::{Analyzer, Index, Report, Resource};

pub struct EntryProtocols;

/// What an entry says of a port: protocol, object, the port's place in it.
type Opinion<'a> = (String, &'a Resource, usize);

impl Analyzer for EntryProtocols {
    fn name(&self) -> &'static str {
        "serviceentry.ConflictingServiceEntryProtocolAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that ServiceEntries agree about what a host's port speaks"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let mut opinions: BTreeMap<(String, &str, u32), Vec<Opinion<'_>>> = BTreeMap::new();
        for (resource, entry) in index.of::<ServiceEntry>() {
            for scope in scopes(&entry.export_to, resource.namespace()) {
                for host in &entry.hosts {
                    for (position, port) in entry.ports.iter().enumerate() {
                        opinions
                            .entry((scope.clone(), host, port.number))
                            .or_default()
                            .push((port.protocol.to_ascii_uppercase(), resource, position));
                    }
                }
            }
        }
        let mut reported = BTreeSet::new();
        for ((scope, host, port), own) in &opinions {
            let mut all = own.clone();
            if scope != "*" {
                all.extend(
                    opinions
                        .get(&("*".to_owned(), *host, *port))
                        .into_iter()
                        .flatten()
                        .cloned(),
                );
            }
            let protocols: BTreeSet<&str> =
                all.iter().map(|(protocol, ..)| protocol.as_str()).collect();
            if protocols.len() < 2 {
                continue;
            }
            let owners: BTreeSet<String> = all
                .iter()
                .map(|(_, resource, _)| resource.full_name())
                .collect();
            let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
            let protocols: Vec<&str> = protocols.into_iter().collect();
            for (_, resource, position) in &all {
                if reported.insert((&resource.name, &resource.cluster)) {
                    report.add(
                        &CONFLICTING_ENTRY_PROTOCOLS,
                        resource,
                        at!(spec.ports[*position].protocol),
                        format!(
                            "port {port} of {host} is {} in {}",
                            protocols.join(" and "),
                            owners.join(", ")
                        ),
                        "use one protocol, or exportTo so that no namespace sees both",
                    );
                }
            }
        }
    }
}
