//! Where single objects stand: accepted or not, and at how many proxies they are in force.

use super::proxies::Progress;
use super::state::{Current, State};
use meltemi_api::{Kind, Object, ObjectKey};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Since which generation of the World each object is as it is, for kinds that configure the
/// mesh.
#[derive(Clone, Debug, Default)]
pub(super) struct Ages(Arc<HashMap<ObjectKey, Age>>);

#[derive(Clone, Copy, Debug)]
struct Age {
    content: u64,
    since: u64,
}

impl Ages {
    /// Of the objects of a generation; those that are as before keep their age.
    pub fn next<'a>(&self, objects: impl Iterator<Item = &'a Object>, generation: u64) -> Self {
        let configure = objects.filter(|object| configures_mesh(object.meta.kind));
        let ages = configure.map(|object| {
            let (key, content) = (object.key(), object.meta.resource_version);
            let former = self.0.get(&key).filter(|age| age.content == content);
            let since = former.map_or(generation, |age| age.since);
            (key, Age { content, since })
        });
        Self(Arc::new(ages.collect()))
    }

    fn since(&self, key: &ObjectKey) -> Option<u64> {
        self.0.get(key).map(|age| age.since)
    }
}

/// Kubernetes' own kinds have a status that is its controllers' business.
fn configures_mesh(kind: Kind) -> bool {
    !kind.is_kubernetes()
}

/// An object among the connected proxies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    /// What is written is in force; otherwise its last good version, or nothing of it, is.
    pub accepted: bool,
    /// Proxies that have confirmed, or lacked, nothing since the object is as it is.
    pub reconciled: usize,
    /// Proxies that are connected.
    pub proxies: usize,
    /// The proxies that refuse it, and why.
    pub refusals: BTreeSet<String>,
}

impl Standing {
    /// The conditions of Istio's `status`, and whether what is written was accepted.
    pub fn conditions(&self) -> Value {
        let condition = |kind: &str, holds: bool, message: String| {
            let status = if holds { "True" } else { "False" };
            json!({"type": kind, "status": status, "message": message})
        };
        let accepted = match self.accepted {
            true => "in force as it is written",
            false => "what is written is wrong; the last good version is in force",
        };
        json!([
            condition("Accepted", self.accepted, accepted.to_owned()),
            condition(
                "Reconciled",
                self.accepted && self.reconciled == self.proxies,
                format!("{}/{} proxies up to date", self.reconciled, self.proxies),
            ),
        ])
    }
}

/// How far all proxies are, at one moment.
pub(super) struct Standings {
    current: Current,
    proxies: Vec<Progress>,
    refusals: BTreeMap<ObjectKey, BTreeSet<String>>,
}

impl Standings {
    /// Those of what is in force, `current`.
    pub fn of_all(state: &State, current: Current) -> Self {
        let connections = state.proxies.all().into_iter();
        let serving = connections.filter(|connection| connection.serves_traffic());
        let mut proxies = Vec::new();
        let mut refusals: BTreeMap<ObjectKey, BTreeSet<String>> = BTreeMap::new();
        for connection in serving {
            let progress = connection.progress();
            for rejection in &progress.rejections {
                let text = format!(
                    "the proxy {} refuses its {}: {}",
                    connection.proxy.id, rejection.kind, rejection.message
                );
                for object in &rejection.objects {
                    let refusals = refusals.entry(object.clone()).or_default();
                    refusals.insert(text.clone());
                }
            }
            proxies.push(progress);
        }
        Self {
            current,
            proxies,
            refusals,
        }
    }

    /// `None` for kinds that do not configure the mesh.
    pub fn of(&self, key: &ObjectKey) -> Option<Standing> {
        let since = self.current.ages.since(key)?;
        let reconciled = self.proxies.iter();
        let reconciled = reconciled.filter(|progress| progress.has(key, since));
        Some(Standing {
            accepted: !self.current.published.held.contains(key),
            reconciled: reconciled.count(),
            proxies: self.proxies.len(),
            refusals: self.refusals(key).clone(),
        })
    }

    /// What proxies refuse because of an object.
    pub fn refusals(&self, key: &ObjectKey) -> &BTreeSet<String> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        self.refusals.get(key).unwrap_or(&NONE)
    }

    pub fn current(&self) -> &Current {
        &self.current
    }
}
