//! Our output beside the real istiod's, scenario by scenario (see `shared/data/istiod-xds`).
//!
//! Names must agree. Contents are compared field by field; what differs is printed, and the
//! share of equal resources must not fall below a floor. Differences on purpose are taken out
//! first, each with its reason (`normalize`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

struct Scenario {
    name: &'static str,
    proxies: &'static [&'static str],
}

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "bookinfo",
        proxies: &[
            "productpage-v1",
            "reviews-v1",
            "ratings-v1",
            "ingressgateway",
        ],
    },
    Scenario {
        name: "routing",
        proxies: &[
            "productpage-v1",
            "reviews-v1",
            "ratings-v1",
            "ingressgateway",
        ],
    },
    Scenario {
        name: "strict",
        proxies: &[
            "productpage-v1",
            "reviews-v1",
            "ratings-v1",
            "ingressgateway",
        ],
    },
    Scenario {
        name: "egress",
        proxies: &[
            "productpage-v1",
            "reviews-v1",
            "ratings-v1",
            "ingressgateway",
            "egressgateway",
        ],
    },
    Scenario {
        name: "traffic-policy",
        proxies: &[
            "productpage-v1",
            "reviews-v1",
            "ratings-v1",
            "ingressgateway",
        ],
    },
    Scenario {
        name: "gateway-tls",
        proxies: &[
            "productpage-v1",
            "reviews-v1",
            "ratings-v1",
            "ingressgateway",
        ],
    },
];

/// Resources of ours that equal istiod's to the last field, in percent.
// The PROXY protocol and secrets from files, which Meltemi's proxy gets otherwise, are the rest.
const FLOOR: usize = 98;

#[test]
fn names_and_contents_agree_with_istiods() {
    let Some(cluster) = common::captured_cluster() else {
        return;
    };
    let (mut equal, mut total) = (0, 0);
    let mut wrong_names = Vec::new();
    let mut differences: BTreeMap<String, usize> = BTreeMap::new();
    for scenario in &SCENARIOS {
        let Some(directory) = common::shared(&format!("istiod-xds/{}", scenario.name)) else {
            return;
        };
        let mut objects = cluster.clone();
        objects.extend(common::read(&directory.join("config.yaml")));
        if !matches!(scenario.name, "bookinfo" | "gateway-tls") {
            let gateway = directory.with_file_name("bookinfo").join("config.yaml");
            objects.extend(common::read(&gateway));
        }
        let automatic = common::world(&objects)
            .registry
            .by_host("api.external.test")
            .iter()
            .find_map(|service| service.auto_address)
            .map_or_else(|| "none".to_owned(), |address| address.to_string());
        for name in scenario.proxies {
            let proxy = common::captured_proxy(name);
            let ours = common::json(&common::translated(&objects, &proxy));
            // istiod numbers automatic addresses; ours follow from the name.
            let text = serde_json::to_string(&ours).unwrap();
            let text = text.replace(&automatic, "240.240.0.1");
            let ours: BTreeMap<String, Vec<Value>> = serde_json::from_str(&text).unwrap();
            for kind in ["cds", "eds", "lds", "rds", "nds"] {
                let Some(theirs) = captured(&directory.join(name).join(format!("{kind}.json")))
                else {
                    continue;
                };
                let place = format!("{}/{name}/{kind}", scenario.name);
                let ours = by_name(&ours[kind]);
                let theirs = by_name(&theirs);
                compare_names(&place, &ours, &theirs, &mut wrong_names);
                for (resource, theirs) in &theirs {
                    let Some(ours) = ours.get(resource) else {
                        continue;
                    };
                    total += 1;
                    let before = differences.len();
                    let mut found = Vec::new();
                    difference("", &normalize(ours), &normalize(theirs), &mut found);
                    equal += usize::from(found.is_empty());
                    for path in found {
                        let entry = differences.entry(format!("{kind} {path}"));
                        if before < 60
                            || matches!(entry, std::collections::btree_map::Entry::Occupied(_))
                        {
                            *entry.or_default() += 1;
                        }
                    }
                }
            }
        }
    }
    for (path, count) in &differences {
        println!("{count:4} x {path}");
    }
    println!("{equal} of {total} resources are equal");
    assert!(
        wrong_names.is_empty(),
        "names differ:\n{}",
        wrong_names.join("\n")
    );
    assert!(
        equal * 100 >= total * FLOOR,
        "{equal} of {total} resources are equal"
    );
}

fn captured(path: &Path) -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(path).ok()?;
    let response: Value = serde_json::from_str(&text).unwrap();
    Some(
        response["resources"]
            .as_array()
            .cloned()
            .unwrap_or_default(),
    )
}

fn by_name(resources: &[Value]) -> BTreeMap<String, Value> {
    resources
        .iter()
        .map(|resource| {
            let name = resource
                .get("name")
                .or_else(|| resource.get("cluster_name"));
            let name = name.and_then(Value::as_str).unwrap_or_default();
            (name.to_owned(), resource.clone())
        })
        .collect()
}

fn compare_names(
    place: &str,
    ours: &BTreeMap<String, Value>,
    theirs: &BTreeMap<String, Value>,
    wrong: &mut Vec<String>,
) {
    let ours: BTreeSet<&String> = ours.keys().collect();
    let theirs: BTreeSet<&String> = theirs.keys().collect();
    for missing in theirs.difference(&ours) {
        wrong.push(format!("{place}: missing {missing}"));
    }
    for extra in ours.difference(&theirs) {
        wrong.push(format!("{place}: extra {extra}"));
    }
}

/// Takes out what differs on purpose.
fn normalize(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(name, value)| {
                    !(
                        // The resource's own type.
                        name.as_str() == "@type"
                        // istiod's test proxies announced no names; ours are the workloads'.
                        || name.as_str() == "custom_tags"
                        // Absent and empty mean the same to Envoy.
                        || value.as_object().is_some_and(|fields| fields.is_empty() && name.as_str() == "locality")
                        // 64-bit integers as text, others as numbers, and runtime keys: istiod
                        // writes the character with that code point.
                        || name.as_str() == "runtime_key"
                        // Which rule made it: Istio does not say.
                        || name.as_str() == "meltemi"
                    )
                })
                .map(|(name, value)| (name.clone(), normalize(value)))
                .collect(),
        ),
        // istiod sorts endpoints by Pod, we by address.
        Value::Array(values) if values.iter().any(|v| v.get("health_status").is_some()) => {
            let mut values = values.clone();
            values.sort_by_key(|value| value["endpoint"].to_string());
            Value::Array(values)
        }
        Value::Array(values) => Value::Array(
            values
                .iter()
                // Metrics are always on in ours; in Istio a Telemetry object turns them on.
                .filter(|value| value.get("name").and_then(Value::as_str) != Some("istio.stats"))
                .map(normalize)
                .collect(),
        ),
        other => other.clone(),
    }
}

fn difference(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let path = format!("{path}.{name}");
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => difference(&path, a, b, found),
                    (Some(a), None) => found.push(format!("{path}: ours only: {}", short(a))),
                    (None, Some(b)) => found.push(format!("{path}: theirs only: {}", short(b))),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                found.push(format!(
                    "{path}: {} entries, theirs {}: {} / {}",
                    a.len(),
                    b.len(),
                    short(ours),
                    short(theirs)
                ));
            }
            for (a, b) in a.iter().zip(b) {
                difference(&format!("{path}[]"), a, b, found);
            }
        }
        (a, b) if a == b || a.as_f64().is_some() && a.as_f64() == b.as_f64() => {}
        (a, b) => found.push(format!("{path}: {} / {}", short(a), short(b))),
    }
}

fn short(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > 160 {
        let end = (0..=160)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
}
