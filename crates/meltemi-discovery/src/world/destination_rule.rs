//! DestinationRules by host, and the policy that is in force for a port or a subset.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use meltemi_api::ObjectKey;
use meltemi_api::networking::{DestinationRule, Subset, TrafficPolicy};
use meltemi_registry::{Service, Visibility, matches};

use super::named::Named;
use crate::hosts;

/// All rules of a namespace for one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The oldest of the objects that were merged.
    pub key: ObjectKey,
    pub host: String,
    pub visibility: Visibility,
    pub traffic_policy: Option<TrafficPolicy>,
    pub subsets: Vec<Subset>,
    /// Clients it is for; empty: all.
    pub selector: BTreeMap<String, String>,
}

impl Rule {
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| subset.name == name)
    }
}

/// The rules of all namespaces.
#[derive(Debug, Default, PartialEq)]
pub struct DestinationRules {
    namespaces: HashMap<String, NamespaceRules>,
    root_namespace: String,
}

#[derive(Debug, Default, PartialEq)]
struct NamespaceRules {
    /// By exact host; rules with a selector first.
    exact: HashMap<String, Vec<Arc<Rule>>>,
    /// The longest first.
    wildcard: Vec<Arc<Rule>>,
}

/// Namespace, host and selector: rules with the same are one.
type Slot = (String, String, Vec<(String, String)>);

impl DestinationRules {
    /// Indexes the rules, which come oldest first. Several rules for a host in a namespace are
    /// merged as Istio does: the oldest's policy, everybody's subsets.
    pub fn new(
        objects: &[Named<DestinationRule>],
        default_export: &[String],
        domain: &str,
        root_namespace: &str,
    ) -> Self {
        let mut merged: BTreeMap<Slot, Rule> = BTreeMap::new();
        for object in objects {
            let spec = &object.spec;
            let host = hosts::resolve(&spec.host, object.namespace(), domain);
            let export = if spec.export_to.is_empty() {
                default_export
            } else {
                &spec.export_to
            };
            let selector = spec
                .workload_selector
                .as_ref()
                .map(|selector| selector.match_labels.clone())
                .unwrap_or_default();
            let slot = (
                object.namespace().to_owned(),
                host.clone(),
                selector.clone().into_iter().collect(),
            );
            match merged.get_mut(&slot) {
                None => {
                    merged.insert(
                        slot,
                        Rule {
                            key: object.key.clone(),
                            visibility: Visibility::parse(
                                export.iter().map(String::as_str),
                                object.namespace(),
                            ),
                            host,
                            traffic_policy: spec.traffic_policy.clone(),
                            subsets: spec.subsets.clone(),
                            selector,
                        },
                    );
                }
                Some(rule) => {
                    for subset in &spec.subsets {
                        if rule.subset(&subset.name).is_none() {
                            rule.subsets.push(subset.clone());
                        }
                    }
                    if rule.traffic_policy.is_none() {
                        rule.traffic_policy.clone_from(&spec.traffic_policy);
                    }
                }
            }
        }
        let mut index = Self {
            namespaces: HashMap::new(),
            root_namespace: root_namespace.to_owned(),
        };
        for ((namespace, host, _), rule) in merged {
            let rules = index.namespaces.entry(namespace).or_default();
            let rule = Arc::new(rule);
            if host.starts_with('*') {
                rules.wildcard.push(rule);
            } else {
                rules.exact.entry(host).or_default().push(rule);
            }
        }
        for rules in index.namespaces.values_mut() {
            let order = |rule: &Arc<Rule>| (rule.selector.is_empty(), rule.host.clone());
            for list in rules.exact.values_mut() {
                list.sort_by_key(order);
            }
            rules.wildcard.sort_by(|a, b| {
                (hosts::rank(&a.host), a.selector.is_empty())
                    .cmp(&(hosts::rank(&b.host), b.selector.is_empty()))
            });
        }
        index
    }

    /// Every rule.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rule> {
        let rules = self.namespaces.values();
        rules
            .flat_map(|rules| rules.exact.values().flatten().chain(&rules.wildcard))
            .map(|rule| &**rule)
    }

    /// Takes from an earlier World the rules that are equal there.
    pub(super) fn share(&mut self, before: &Self) {
        for (namespace, rules) in &mut self.namespaces {
            let Some(before) = before.namespaces.get(namespace) else {
                continue;
            };
            for (host, rules) in &mut rules.exact {
                let earlier = before.exact.get(host).map_or(&[][..], Vec::as_slice);
                share(rules, earlier);
            }
            share(&mut rules.wildcard, &before.wildcard);
        }
    }

    /// The rule in force for a client's calls of a service: the client's namespace decides, then
    /// the service's, then the root namespace; there the most specific host.
    pub fn find(
        &self,
        client_namespace: &str,
        labels: &BTreeMap<String, String>,
        service: &Service,
    ) -> Option<&Arc<Rule>> {
        let local = (client_namespace != self.root_namespace).then_some(client_namespace);
        if let Some(rule) = local.and_then(|namespace| {
            self.best(namespace, &service.hostname, |rule| {
                matches(&rule.selector, labels)
            })
        }) {
            return Some(rule);
        }
        let exported = |rule: &Rule| {
            rule.visibility.includes(client_namespace)
                && (rule.selector.is_empty()
                    || (rule.key.namespace == client_namespace && matches(&rule.selector, labels)))
        };
        self.best(&service.namespace, &service.hostname, exported)
            .or_else(|| self.best(&self.root_namespace, &service.hostname, exported))
    }

    fn best(
        &self,
        namespace: &str,
        host: &str,
        applies: impl Fn(&Rule) -> bool,
    ) -> Option<&Arc<Rule>> {
        let rules = self.namespaces.get(namespace)?;
        let exact = rules.exact.get(host).into_iter().flatten();
        let wildcard = rules
            .wildcard
            .iter()
            .filter(|rule| hosts::covers(&rule.host, host));
        exact.chain(wildcard).find(|rule| applies(rule))
    }
}

fn share(rules: &mut [Arc<Rule>], earlier: &[Arc<Rule>]) {
    for rule in rules {
        if let Some(same) = earlier.iter().find(|earlier| *earlier == rule) {
            *rule = same.clone();
        }
    }
}

/// The policy for a port: port-level settings replace the destination's as a whole (Istio: no
/// field is inherited into them).
pub fn at_port(policy: Option<&TrafficPolicy>, port: u16) -> TrafficPolicy {
    let Some(policy) = policy else {
        return TrafficPolicy::default();
    };
    let level = policy.port_level_settings.iter().find(|level| {
        level
            .port
            .as_ref()
            .is_some_and(|selector| selector.number == u32::from(port))
    });
    let mut effective = TrafficPolicy {
        port_level_settings: Vec::new(),
        ..policy.clone()
    };
    if let Some(level) = level {
        effective.load_balancer.clone_from(&level.load_balancer);
        effective.connection_pool.clone_from(&level.connection_pool);
        effective
            .outlier_detection
            .clone_from(&level.outlier_detection);
        effective.tls.clone_from(&level.tls);
    }
    effective
}

/// The policy of a subset at a port: the destination's, each part overridden by the subset's.
pub fn at_subset(base: &TrafficPolicy, subset: &Subset, port: u16) -> TrafficPolicy {
    let Some(own) = &subset.traffic_policy else {
        return base.clone();
    };
    let mut effective = base.clone();
    macro_rules! override_with {
        ($from:expr, $($field:ident),*) => { $(
            if $from.$field.is_some() {
                effective.$field.clone_from(&$from.$field);
            }
        )* };
    }
    override_with!(
        own,
        load_balancer,
        connection_pool,
        outlier_detection,
        tls,
        tunnel,
        proxy_protocol,
        retry_budget
    );
    let level = own.port_level_settings.iter().find(|level| {
        level
            .port
            .as_ref()
            .is_some_and(|selector| selector.number == u32::from(port))
    });
    if let Some(level) = level {
        override_with!(
            level,
            load_balancer,
            connection_pool,
            outlier_detection,
            tls
        );
    }
    effective
}
