//! All workloads, found by label, by name and by address.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::pods::Instance;

/// An index over the workloads; positions are stable for its lifetime.
#[derive(Debug, Default)]
pub struct Instances {
    all: Vec<Instance>,
    by_label: HashMap<(String, String, String), Vec<usize>>,
    by_name: HashMap<(String, String), usize>,
    by_ip: HashMap<IpAddr, usize>,
}

impl Instances {
    pub fn new(mut all: Vec<Instance>) -> Self {
        all.sort_by(|a, b| {
            let key = |instance: &Instance| {
                (
                    instance.workload.namespace.clone(),
                    instance.workload.name.clone(),
                )
            };
            key(a).cmp(&key(b))
        });
        let mut index = Self::default();
        for (position, instance) in all.iter().enumerate() {
            let workload = &instance.workload;
            for (key, value) in &workload.labels {
                index
                    .by_label
                    .entry((workload.namespace.clone(), key.clone(), value.clone()))
                    .or_default()
                    .push(position);
            }
            index.by_name.insert(
                (workload.namespace.clone(), workload.name.clone()),
                position,
            );
            for ip in instance.ips() {
                index.by_ip.entry(ip).or_insert(position);
            }
        }
        index.all = all;
        index
    }

    pub fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.all.iter()
    }

    pub fn named(&self, namespace: &str, name: &str) -> Option<&Instance> {
        self.by_name
            .get(&(namespace.to_owned(), name.to_owned()))
            .map(|position| &self.all[*position])
    }

    pub fn at(&self, ip: IpAddr) -> Option<&Instance> {
        self.by_ip.get(&ip).map(|position| &self.all[*position])
    }

    /// The workloads of a namespace that carry all the labels; none for an empty selector.
    pub fn select<'a>(
        &'a self,
        namespace: &str,
        selector: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Instance> {
        // The rarest label narrows the search; the rest is compared.
        let candidates = selector
            .iter()
            .map(|(key, value)| {
                self.by_label
                    .get(&(namespace.to_owned(), key.clone(), value.clone()))
                    .map_or(&[] as &[usize], Vec::as_slice)
            })
            .min_by_key(|positions| positions.len())
            .unwrap_or(&[]);
        candidates
            .iter()
            .map(|position| &self.all[*position])
            .filter(|instance| matches(selector, &instance.workload.labels))
    }
}

/// Whether labels carry everything a selector names. An empty selector matches everything.
pub fn matches(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}
