//! One call's fate in a sentence, with the rules that it hangs on.

mod fate;
mod remedy;

use meltemi_api::networking::DestinationRule;
use meltemi_api::{Kind, Object, ObjectKey, Spec};
use meltemi_discovery::Proxy;
use serde::Serialize;

use crate::journey::{Journey, Role};
use crate::mesh::Mesh;
use crate::rule::Rule;

/// Why a call ends where it ends.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub sentence: String,
    /// What to do, where the call does not come through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    pub evidence: Vec<Evidence>,
}

/// An object that has, or might have had, a say.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    pub part: Part,
    pub rule: Rule,
    /// `FILE:LINE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What an object is to the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// It sends the call where it goes, or refuses it.
    Decides,
    /// It says how connections to the destination are made.
    Policy,
    /// It comes before the one that decides, and does not take the call.
    PassedOver,
    /// It comes after the one that decides.
    NotReached,
}

impl Part {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decides => "decides",
            Self::Policy => "policy",
            Self::PassedOver => "passed over",
            Self::NotReached => "not reached",
        }
    }
}

impl Mesh {
    /// Says what becomes of a call that was followed.
    pub fn explain(&self, from: &Proxy, journey: &Journey) -> Explanation {
        let mut evidence: Vec<Evidence> = Vec::new();
        let mut add = |part, rule: Rule, note: &str| {
            if evidence.iter().all(|known| known.rule != rule) {
                let place = self.place(&rule);
                evidence.push(Evidence {
                    part,
                    rule,
                    place,
                    note: note.to_owned(),
                });
            }
        };
        let refused = journey.refusal().map(|(hop, _)| &hop.proxy);
        for hop in &journey.hops {
            let verdict = &hop.verdict;
            if hop.role == Role::Server {
                let decides = refused == Some(&hop.proxy);
                if let Some(rule) = self.mtls_rule(&hop.proxy) {
                    let part = match decides {
                        true => Part::Decides,
                        false => Part::Policy,
                    };
                    add(part, rule, "the server's mTLS mode");
                }
                continue;
            }
            if let Some(rule) = &verdict.rule {
                add(Part::Decides, rule.clone(), "");
            }
            for destination in verdict.destinations() {
                if let Some(rule) = &destination.rule {
                    let rule = self.narrowed(rule, &destination.cluster);
                    add(Part::Policy, rule, "");
                }
            }
            for passed in &verdict.passed_over {
                if let Some(rule) = &passed.rule {
                    add(Part::PassedOver, rule.clone(), &passed.reason);
                }
            }
            for rule in &verdict.not_reached {
                add(Part::NotReached, rule.clone(), "");
            }
        }
        let (sentence, remedy) = match journey.refusal() {
            Some((hop, refusal)) => remedy::refused(self, from, journey, hop, refusal),
            None => (fate::sentence(self, journey), fate::remedy(self, journey)),
        };
        Explanation {
            sentence,
            remedy,
            evidence,
        }
    }

    /// Where a rule was written: `FILE:LINE`.
    pub fn place(&self, rule: &Rule) -> Option<String> {
        let object = self.object(&rule.object)?;
        let origin = object.meta.origin.as_ref()?;
        let field = rule.field.parse().unwrap_or_default();
        let line = meltemi_config::line_of(object, &field).unwrap_or(origin.line);
        Some(format!("{}:{line}", origin.file.display()))
    }

    /// A rule with its place, for a sentence.
    fn cite(&self, rule: &Rule) -> String {
        match self.place(rule) {
            Some(place) => format!("{rule} ({place})"),
            None => rule.to_string(),
        }
    }

    /// A DestinationRule, down to the subset that a cluster is of.
    fn narrowed(&self, rule: &Rule, cluster: &str) -> Rule {
        let subset = cluster.split('|').nth(2).unwrap_or_default();
        let found = self.merged(rule).find_map(|(key, spec)| {
            let position = spec.subsets.iter().position(|known| known.name == subset)?;
            Some(Rule::new(key, format!("spec.subsets[{position}]")))
        });
        found.unwrap_or_else(|| rule.clone())
    }

    /// The part of a DestinationRule that sets the TLS of a destination.
    fn tls_setting(&self, rule: &Rule) -> Option<Rule> {
        self.merged(rule).find_map(|(key, spec)| {
            spec.traffic_policy.as_ref()?.tls.as_ref()?;
            Some(Rule::new(key, "spec.trafficPolicy.tls".to_owned()))
        })
    }

    /// The DestinationRules of one host in a namespace: they are in force as one, which is
    /// named by the oldest.
    fn merged(&self, rule: &Rule) -> impl Iterator<Item = (ObjectKey, &DestinationRule)> {
        let host = |object: &Object| match &object.spec {
            Spec::DestinationRule(spec) => Some(spec.host.clone()),
            _ => None,
        };
        let wanted = self.object(&rule.object).and_then(host);
        let namespace = rule.namespace.clone();
        self.of_kind(Kind::DestinationRule)
            .filter(move |object| object.meta.namespace == namespace && host(object) == wanted)
            .filter_map(|object| match &object.spec {
                Spec::DestinationRule(spec) => Some((object.key(), &**spec)),
                _ => None,
            })
    }

    /// The PeerAuthentication that decides about a workload, by its pod's `NAME.NAMESPACE`.
    fn mtls_rule(&self, pod: &str) -> Option<Rule> {
        let (name, namespace) = pod.rsplit_once('.')?;
        let instance = self.world().registry.instance(namespace, name)?;
        let policies = &self.world().peer_authentications;
        // The policy of all ports: an exception of one port is named by the same object.
        let rule = policies.rule(namespace, &instance.workload.labels, 0)?;
        let object: ObjectKey = rule.object;
        Some(Rule::new(object, rule.field))
    }
}
