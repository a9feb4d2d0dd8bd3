//! Everything that the real istiod sends must compile, but for what is refused on purpose.

// The configuration that allows it in tests does not see helper functions.
#![allow(clippy::unwrap_used)]

use meltemi_proxy::compile::{self, Cx, Error, Names, Notice, pb};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn data() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/istiod-xds");
    if !path.is_dir() {
        println!("skipped: {} not found", path.display());
        return None;
    }
    Some(path)
}

/// Decodes a resource of its `@type`, compiles it, and returns what it is honoured without.
fn compile_one(resource: &serde_json::Value) -> (String, Result<Vec<Notice>, Error>) {
    let mut body = resource.clone();
    let object = body.as_object_mut().unwrap();
    let url = object.shift_remove("@type").unwrap();
    let kind = url.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let name = ["name", "cluster_name"]
        .iter()
        .find_map(|key| body[*key].as_str())
        .unwrap_or_default()
        .to_owned();
    let bytes = meltemi_schema::encode(&kind, &body).unwrap();
    // What istiod's own library printed comes back as it was.
    assert_eq!(
        meltemi_schema::decode(&kind, &bytes).unwrap(),
        body,
        "{name}"
    );
    let mut names = Names::default();
    let mut cx = Cx::new(&mut names);
    let bytes = bytes.as_slice();
    let result = match kind.rsplit('.').next().unwrap() {
        "Cluster" => {
            compile::cluster(pb::cluster::Cluster::decode(bytes).unwrap(), 0, &mut cx).map(drop)
        }
        "ClusterLoadAssignment" => {
            let message = pb::endpoint::ClusterLoadAssignment::decode(bytes).unwrap();
            compile::assignment::assignment(message, false, &mut cx).map(drop)
        }
        "Listener" => {
            compile::listener(pb::listener::Listener::decode(bytes).unwrap(), 0, &mut cx).map(drop)
        }
        "RouteConfiguration" => {
            let message = pb::route::RouteConfiguration::decode(bytes).unwrap();
            compile::route_table(message, &mut cx).map(drop)
        }
        other => panic!("{other} is not expected"),
    };
    (name, result.map(|()| cx.finish().1))
}

/// Refusals by scenario, kind and name.
fn sweep(data: &Path) -> (BTreeMap<String, Error>, BTreeSet<Notice>, usize) {
    let (mut refused, mut notices, mut count) = (BTreeMap::new(), BTreeSet::new(), 0);
    for scenario in std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap()) {
        let scenario_name = scenario.file_name().into_string().unwrap();
        if scenario_name == "bootstrap" || !scenario.path().is_dir() {
            continue;
        }
        for proxy in std::fs::read_dir(scenario.path())
            .unwrap()
            .map(|entry| entry.unwrap())
        {
            for kind in ["cds", "eds", "lds", "rds"] {
                let path = proxy.path().join(format!("{kind}.json"));
                let Ok(text) = std::fs::read_to_string(&path) else {
                    continue;
                };
                let response: serde_json::Value = serde_json::from_str(&text).unwrap();
                for resource in response["resources"].as_array().into_iter().flatten() {
                    let (name, result) = compile_one(resource);
                    count += 1;
                    match result {
                        Ok(found) => notices.extend(found),
                        Err(error) => {
                            let proxy = proxy.file_name().into_string().unwrap();
                            refused.insert(format!("{scenario_name}/{proxy}/{kind}/{name}"), error);
                        }
                    }
                }
            }
        }
    }
    (refused, notices, count)
}

#[test]
fn what_istiod_sends_compiles() {
    let Some(data) = data() else { return };
    let (refused, notices, count) = sweep(&data);
    for notice in &notices {
        println!("not honoured: {}: {}", notice.field, notice.reason);
    }
    for (name, error) in &refused {
        println!("refused: {name}: {error}");
    }
    println!("{count} resources, {} refused", refused.len());
    assert!(count > 1000);
    let unexpected: Vec<_> = refused
        .iter()
        .filter(|(name, error)| !expected(name, error))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    assert!(
        refused.keys().any(|name| name.starts_with("policy/")),
        "policy filters must be refused, not ignored"
    );
}

/// Refusals that are meant: policies that cannot be evaluated yet fail closed.
fn expected(name: &str, error: &Error) -> bool {
    name.starts_with("policy/") && error.field().contains("filters[")
}
