//! What a balancer, a weight or sampling may choose between: any of it is right.

use super::config::collect;
use super::plan::text;
use crate::compare::View;
use serde_json::Value;
use std::collections::BTreeMap;

/// Aspects that name an endpoint.
const ENDPOINT: [&str; 2] = ["header.endpoint", ".upstream"];
/// Aspects that name a cluster.
const CLUSTER: [&str; 2] = [".cluster", "header.tls-name"];

/// Clusters and endpoints that stand for each other, by the first of them.
#[derive(Default)]
pub struct Chance {
    clusters: BTreeMap<String, String>,
    endpoints: BTreeMap<String, String>,
    /// Headers that only some weighted clusters add.
    headers: Vec<String>,
}

impl Chance {
    pub fn of(listeners: &[Value], clusters: &[Value]) -> Self {
        let mut chance = Self::default();
        let mut groups: Vec<Vec<String>> = Vec::new();
        let mut see = |key: &str, value: &Value| {
            if key != "weighted_clusters" {
                return;
            }
            let choices = value["clusters"].as_array().into_iter().flatten();
            groups.push(
                choices
                    .clone()
                    .map(|choice| text(&choice["name"]).to_owned())
                    .collect(),
            );
            let added = choices.flat_map(|choice| choice["response_headers_to_add"].as_array());
            let names = added
                .flatten()
                .map(|added| text(&added["header"]["key"]).to_owned());
            chance.headers.extend(names);
        };
        listeners
            .iter()
            .for_each(|listener| collect(listener, &mut see));
        for group in groups {
            let first = group.first().cloned().unwrap_or_default();
            for name in group {
                // As Istio's server names have it.
                let server = name.replace('|', "_.");
                chance.clusters.insert(server, first.clone());
                chance.clusters.insert(name, first.clone());
            }
        }
        let mut pools: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for cluster in clusters {
            let name = text(&cluster["name"]);
            let name = chance.clusters.get(name).map_or(name, String::as_str);
            let pool = pools.entry(name.to_owned()).or_default();
            collect(&cluster["load_assignment"], &mut |key, value| {
                if key == "socket_address" {
                    pool.push(format!(
                        "{}:{}",
                        text(&value["address"]),
                        value["port_value"]
                    ));
                }
            });
        }
        for pool in pools.into_values().filter(|pool| pool.len() > 1) {
            let first = pool.iter().min().cloned().unwrap_or_default();
            for endpoint in pool {
                chance.endpoints.entry(endpoint).or_insert(first.clone());
            }
        }
        chance
    }

    pub fn take_out(&self, view: &mut View) {
        let header = |name: &str| {
            let added = |header: &String| name.ends_with(&format!(".header.{header}"));
            self.headers.iter().any(added)
        };
        view.retain(|name, _| !header(name));
        for (name, value) in view {
            // Which requests are traced is chance, too.
            if name.ends_with("header.x-request-id") && value.starts_with("<uuid") {
                *value = "<uuid>".into();
            }
            if name.ends_with("header.traceparent") {
                value.truncate(value.len().saturating_sub("-01".len()));
            }
            let table = match () {
                () if CLUSTER.iter().any(|end| name.ends_with(end)) => &self.clusters,
                () if ENDPOINT.iter().any(|end| name.ends_with(end)) => &self.endpoints,
                () => continue,
            };
            if let Some(first) = table.get(value.trim_matches('"')) {
                *value = format!("<one of those with {first}>");
            }
        }
    }
}
