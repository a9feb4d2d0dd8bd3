//! Golden files: YAML in, xDS out. Each `golden/NAME.yaml` says in its comments for which proxy
//! it is translated and what is shown of the result; `golden/NAME.json` holds that.
//!
//! `UPDATE_GOLDEN=1 cargo test -p meltemi-discovery --test golden` writes the files anew: read
//! the difference before committing it.
//!
//! `# proxy: sidecar|gateway|envoy NAME IP LABEL=VALUE,...`
//! `# show: TYPE[/NAME] ...`: `cds`, `eds`, `lds`, `rds`, `nds`, `sds`; `chains/LISTENER` is a
//! listener's filter chains without what they do to each request, `tls/LISTENER` the contexts of
//! TLS that they end; `issues`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use meltemi_discovery::{Flavor, Proxy, ProxyKind, Resources};
use serde_json::{Value, json};

#[test]
fn translations_are_as_written_down() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    let mut wrong = Vec::new();
    for case in cases {
        let text = std::fs::read_to_string(&case).unwrap();
        let found = shown(&text);
        let found = serde_json::to_string_pretty(&found).unwrap() + "\n";
        let golden = case.with_extension("json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &found).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != found {
            wrong.push(first_difference(&golden, &found));
        }
    }
    assert!(
        wrong.is_empty(),
        "UPDATE_GOLDEN=1 rewrites the files:\n{}",
        wrong.join("\n")
    );
}

fn first_difference(golden: &Path, found: &str) -> String {
    let expected = std::fs::read_to_string(golden).unwrap_or_default();
    let line = expected
        .lines()
        .zip(found.lines())
        .position(|(a, b)| a != b)
        .unwrap_or_else(|| expected.lines().count().min(found.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
    format!(
        "{}:{}: expected {}, found {}",
        golden.display(),
        line + 1,
        at(&expected),
        at(found)
    )
}

fn directive<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let prefix = format!("# {name}: ");
    text.lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("no {prefix:?} line"))
        .split_whitespace()
        .collect()
}

fn proxy(text: &str) -> Proxy {
    let words = directive(text, "proxy");
    let [kind, name, ip, labels] = words[..] else {
        panic!("# proxy: KIND NAME IP LABELS");
    };
    let labels: Vec<(&str, &str)> = labels
        .split(',')
        .map(|label| label.split_once('=').unwrap())
        .collect();
    let which = if kind == "gateway" {
        ProxyKind::Gateway
    } else {
        ProxyKind::Sidecar
    };
    let mut proxy = common::proxy(which, name, ip, &labels);
    if kind == "envoy" {
        proxy.flavor = Flavor::Envoy;
    }
    if let Some(locality) = proxy.labels.get("istio-locality") {
        proxy.locality = meltemi_registry::Locality::parse_label(locality);
    }
    proxy
}

fn shown(text: &str) -> Value {
    let world = common::world(&common::objects(text));
    let resources = meltemi_discovery::translate(&world, &proxy(text));
    let all = common::json(&resources);
    let mut result = serde_json::Map::new();
    for wanted in directive(text, "show") {
        let (kind, name) = match wanted.split_once('/') {
            Some((kind, name)) => (kind, Some(name)),
            None => (wanted, None),
        };
        let value = match kind {
            "issues" => issues(&resources),
            "chains" => chains(&all, name.unwrap()),
            "tls" => tls(&all, name.unwrap()),
            _ => Value::Array(
                all[kind]
                    .iter()
                    .filter(|resource| name.is_none_or(|name| is_named(resource, name)))
                    .cloned()
                    .collect(),
            ),
        };
        assert!(
            value != json!([]) || kind == "issues",
            "nothing to show for {wanted}"
        );
        result.insert(wanted.to_owned(), value);
    }
    Value::Object(result)
}

fn is_named(resource: &Value, name: &str) -> bool {
    resource
        .get("name")
        .or_else(|| resource.get("cluster_name"))
        == Some(&json!(name))
}

fn issues(resources: &Resources) -> Value {
    resources
        .issues
        .iter()
        .map(|issue| {
            json!(format!(
                "{} {}: {}",
                issue.object, issue.field, issue.message
            ))
        })
        .collect()
}

/// What of a listener decides where a connection goes.
fn chains(all: &BTreeMap<&str, Vec<Value>>, name: &str) -> Value {
    let listener = all["lds"]
        .iter()
        .find(|listener| is_named(listener, name))
        .unwrap();
    let inspectors: Vec<Value> = listener["listener_filters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|filter| json!({"name": filter["name"], "disabled": filter["filter_disabled"]}))
        .collect();
    let chains: Vec<Value> = listener["filter_chains"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|chain| {
            let filters: Vec<&Value> = chain["filters"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|filter| &filter["name"])
                .collect();
            json!({
                "name": chain["name"],
                "match": chain["filter_chain_match"],
                "filters": filters,
                "tls": !chain["transport_socket"].is_null(),
            })
        })
        .collect();
    json!({"inspectors": inspectors, "chains": chains})
}

/// The TLS that a listener ends, by server name or chain, each context once.
fn tls(all: &BTreeMap<&str, Vec<Value>>, name: &str) -> Value {
    let listener = all["lds"].iter().find(|found| is_named(found, name));
    let chains = &listener.unwrap()["filter_chains"];
    let mut contexts: Vec<(Vec<String>, Value)> = Vec::new();
    for chain in chains.as_array().unwrap() {
        let Some(socket) = chain.get("transport_socket") else {
            continue;
        };
        let context = &socket["typed_config"];
        let names = &chain["filter_chain_match"]["server_names"];
        let whom = match names.as_array() {
            Some(names) => names[0].as_str(),
            None => chain["name"].as_str(),
        };
        let whom = whom.unwrap().to_owned();
        match contexts.iter_mut().find(|(_, known)| known == context) {
            Some((names, _)) if names.contains(&whom) => {}
            Some((names, _)) => names.push(whom),
            None => contexts.push((vec![whom], context.clone())),
        }
    }
    let shown = contexts
        .into_iter()
        .map(|(of, context)| json!({"of": of, "context": context}));
    shown.collect()
}
