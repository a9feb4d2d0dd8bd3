//! DestinationRules by host.

use std::collections::BTreeMap;

use meltemi_api::networking::{DestinationRule, Subset};

use crate::hosts::{covers, fqdn, scopes};
use crate::{Index, Resource};

/// A rule and its object.
type Rule<'a> = (&'a Resource, &'a DestinationRule);

/// All DestinationRules, found by the host that they are for.
#[derive(Debug)]
pub struct Rules<'a> {
    exact: BTreeMap<String, Vec<Rule<'a>>>,
    wildcards: Vec<(String, Rule<'a>)>,
}

impl<'a> Rules<'a> {
    /// The rules of an index.
    pub fn of(index: &'a Index) -> Self {
        let mut rules = Self {
            exact: BTreeMap::new(),
            wildcards: Vec::new(),
        };
        for rule in index.of::<DestinationRule>() {
            let host = fqdn(&rule.1.host, rule.0.namespace());
            if host.starts_with('*') {
                rules.wildcards.push((host, rule));
            } else {
                rules.exact.entry(host).or_default().push(rule);
            }
        }
        rules
    }

    /// The subsets of a host that the rules which a namespace sees declare.
    pub fn subsets(&self, namespace: &str, host: &str) -> impl Iterator<Item = &'a Subset> {
        let host = fqdn(host, namespace);
        let exact = self.exact.get(&host).into_iter().flatten().copied();
        let wildcards = self
            .wildcards
            .iter()
            .filter(move |(pattern, _)| covers(pattern, &host))
            .map(|(_, rule)| *rule);
        exact
            .chain(wildcards)
            .filter(move |(resource, rule)| {
                resource.namespace() == namespace
                    || scopes(&rule.export_to, resource.namespace())
                        .iter()
                        .any(|scope| scope == "*" || scope == namespace)
            })
            .flat_map(|(_, rule)| &rule.subsets)
    }
}
