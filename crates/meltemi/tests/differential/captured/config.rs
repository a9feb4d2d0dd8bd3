//! From what istiod served one proxy to a static bootstrap for both. The world around the
//! proxies is made to fit the addresses (see `world`); changed is only what follows.
//!
//! * Cut: Istio's own extensions, which Envoy as published does not have ([`OWN`]).
//! * Left out: listeners with filters that our proxy refuses by name ([`REFUSED`]).
//! * Given otherwise: routes and endpoints stand in the listeners and clusters that ask for
//!   them, secrets are static.
//! * Made certain: chances of a fault or a mirror that are neither none nor all become all.
//! * Made shorter: injected delays.

use super::certificates::Authority;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Filters by name: of the network, of HTTP, of clusters.
const OWN: &[&str] = &["istio.metadata_exchange", "istio.stats", "istio.alpn"];
const REFUSED: &[&str] = &[
    "envoy.filters.http.ext_authz",
    "envoy.filters.http.jwt_authn",
    "envoy.filters.network.ext_authz",
];
const DELAY: &str = "0.050s";
pub const ADMIN: u16 = 15000;

/// The resources of one captured proxy, changed as above.
pub struct Captured {
    pub name: String,
    pub listeners: Vec<Value>,
    pub clusters: Vec<Value>,
    certificates: BTreeSet<String>,
    roots: BTreeSet<String>,
}

impl Captured {
    /// From `SCENARIO/PROXY` below the captured data.
    pub fn load(dir: &Path) -> Self {
        let parts: Vec<_> = dir.iter().rev().take(2).collect();
        let mut captured = Self {
            name: format!("{}/{}", parts[1].display(), parts[0].display()),
            listeners: resources(dir, "lds"),
            clusters: resources(dir, "cds"),
            certificates: BTreeSet::new(),
            roots: BTreeSet::new(),
        };
        let by = |kind: &str, key: &str| -> BTreeMap<String, Value> {
            let named = |value: Value| Some((value[key].as_str()?.to_owned(), value));
            resources(dir, kind).into_iter().filter_map(named).collect()
        };
        let (routes, endpoints) = (by("rds", "name"), by("eds", "cluster_name"));
        let mut listeners = std::mem::take(&mut captured.listeners);
        let mut clusters = std::mem::take(&mut captured.clusters);
        listeners.retain(|listener| !is_refused(listener));
        for listener in &mut listeners {
            put_routes(listener, &routes);
            captured.change(listener, "");
        }
        for cluster in &mut clusters {
            put_endpoints(cluster, &endpoints);
            captured.change(cluster, "");
        }
        captured.listeners = listeners;
        captured.clusters = clusters;
        captured
    }

    fn change(&mut self, value: &mut Value, key: &str) {
        match value {
            Value::Array(values) => {
                if matches!(key, "filters" | "http_filters") {
                    let own = |filter: &Value| OWN.iter().any(|own| filter["name"] == *own);
                    values.retain(|filter| !own(filter));
                }
                values.iter_mut().for_each(|value| self.change(value, key));
            }
            Value::Object(fields) => {
                if fields.shift_remove("sds_config").is_some() {
                    let name = fields["name"].as_str().expect("a secret has a name");
                    match key {
                        "validation_context_sds_secret_config" => self.roots.insert(name.into()),
                        _ => self.certificates.insert(name.into()),
                    };
                }
                if fields.get("numerator").is_some_and(|some| *some != 0) {
                    *value = json!({ "numerator": 100 });
                    return;
                }
                if let Some(delay) = fields.get_mut("fixed_delay") {
                    *delay = json!(DELAY);
                }
                for (key, value) in fields {
                    self.change(value, key);
                }
            }
            _ => {}
        }
    }

    pub fn bootstrap(&self, authority: &Authority) -> Value {
        let certificates = self.certificates.iter().map(|name| authority.secret(name));
        let roots = self.roots.iter().map(|name| {
            json!({ "name": name, "validation_context": {
                "trusted_ca": { "inline_string": authority.certificate },
            } })
        });
        json!({
            "node": { "id": "sidecar~10.251.0.7~captured.default~default.svc.cluster.local", "cluster": "captured.default" },
            "admin": { "address": super::super::bootstrap::address(ADMIN) },
            "static_resources": {
                "listeners": self.listeners,
                "clusters": self.clusters,
                "secrets": certificates.chain(roots).collect::<Vec<_>>(),
            },
        })
    }

    /// What servers are asked to be: the names in their certificates.
    pub fn server_names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for cluster in &self.clusters {
            collect(cluster, &mut |key, value| {
                let alternatives = value
                    .as_array()
                    .filter(|_| key == "match_subject_alt_names");
                for alternative in alternatives.into_iter().flatten() {
                    names.extend(alternative["exact"].as_str().map(str::to_owned));
                }
            });
        }
        names
    }
}

/// Calls `see` with every field below a value.
pub fn collect(value: &Value, see: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect(value, see)),
        Value::Object(fields) => {
            for (key, value) in fields {
                see(key, value);
                collect(value, see);
            }
        }
        _ => {}
    }
}

/// The resources of a response, without their type; none when nothing was served.
fn resources(dir: &Path, kind: &str) -> Vec<Value> {
    let Ok(text) = std::fs::read_to_string(dir.join(format!("{kind}.json"))) else {
        return Vec::new();
    };
    let mut response: Value = serde_json::from_str(&text).expect("captured responses are JSON");
    let resources = response["resources"].as_array_mut();
    let mut resources = resources.map(std::mem::take).unwrap_or_default();
    for resource in &mut resources {
        let fields = resource.as_object_mut().expect("a resource is an object");
        fields.shift_remove("@type");
    }
    resources
}

fn is_refused(listener: &Value) -> bool {
    let mut refused = false;
    collect(listener, &mut |key, value| {
        refused |= key == "name" && REFUSED.iter().any(|name| value == *name);
    });
    refused
}

fn put_routes(value: &mut Value, routes: &BTreeMap<String, Value>) {
    match value {
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| put_routes(value, routes)),
        Value::Object(fields) => {
            if let Some(rds) = fields.shift_remove("rds") {
                let name = rds["route_config_name"].as_str().unwrap_or_default();
                let routes = routes.get(name).expect("the routes were captured, too");
                fields.insert("route_config".into(), routes.clone());
            }
            fields
                .iter_mut()
                .for_each(|(_, value)| put_routes(value, routes));
        }
        _ => {}
    }
}

fn put_endpoints(cluster: &mut Value, endpoints: &BTreeMap<String, Value>) {
    let fields = cluster.as_object_mut().expect("a cluster is an object");
    let Some(eds) = fields.shift_remove("eds_cluster_config") else {
        return;
    };
    let service = eds["service_name"].as_str().unwrap_or_default();
    let none = json!({ "cluster_name": service });
    let assignment = endpoints.get(service).unwrap_or(&none).clone();
    fields.insert("type".into(), json!("STATIC"));
    fields.insert("load_assignment".into(), assignment);
}
