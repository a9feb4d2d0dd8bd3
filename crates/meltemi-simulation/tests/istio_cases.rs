//! Istio's own verdict on where calls go: configurations and calls from the tests of
//! istio/istio (Apache-2.0), with the outcome that Istio has for them.

// The configuration that allows it in tests does not see helper functions.
#![allow(clippy::unwrap_used)]

#[path = "istio_cases/checks.rs"]
mod checks;
#[path = "istio_cases/exceptions.rs"]
mod exceptions;
#[path = "istio_cases/input.rs"]
mod input;

use meltemi_simulation::Simulation;
use serde_json::Value;
use std::path::Path;

#[test]
fn calls_go_where_istio_sends_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/istio-cases/simulation.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} not found", path.display());
        return;
    };
    let (mut right, mut excepted) = (0, 0);
    let mut wrong: Vec<String> = Vec::new();
    let mut unused: Vec<_> = exceptions::ALL.iter().collect();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = format!(
            "{}/{}",
            case["suite"].as_str().unwrap(),
            case["case"].as_str().unwrap()
        );
        for (check, outcome) in check(&case) {
            let full = format!("{name}: {check}");
            let exception = exceptions::ALL
                .iter()
                .find(|(pattern, _)| full.starts_with(pattern));
            match (outcome, exception) {
                (Ok(()), None) => right += 1,
                (Ok(()), Some(_)) => right += 1,
                (Err(_), Some(exception)) => {
                    excepted += 1;
                    unused.retain(|known| *known != exception);
                }
                (Err(why), None) => wrong.push(format!("{full}: {why}")),
            }
        }
    }
    println!("{right} right, {excepted} excepted, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unused.is_empty(), "exceptions that are none: {unused:#?}");
    assert!(right + excepted > 250);
}

type Outcome = Result<(), String>;

fn check(case: &Value) -> Vec<(String, Outcome)> {
    let (world, proxy) = match input::read(case) {
        Ok(input) => input,
        Err(error) => return vec![("configuration".to_owned(), Err(error))],
    };
    let simulation = Simulation::new(&world, &proxy);
    let mut outcomes: Vec<(String, Outcome)> = Vec::new();
    for refused in simulation.refused() {
        let text = format!("{:?} {}: {}", refused.kind, refused.name, refused.error);
        outcomes.push(("compiles".to_owned(), Err(text)));
    }
    for call in case["calls"].as_array().into_iter().flatten() {
        let name = format!("call {}", call["name"].as_str().unwrap());
        let verdict = simulation.call(&input::call(&call["call"])).unwrap();
        outcomes.push((name, checks::call(&verdict, &call["expect"])));
    }
    let resources = simulation.resources();
    if let Some(expected) = case.get("expectRoutes") {
        outcomes.push(("routes".to_owned(), checks::routes(resources, expected)));
    }
    if let Some(expected) = case.get("expectInboundClusters") {
        let outcome = checks::inbound_clusters(resources, expected);
        outcomes.push(("inbound clusters".to_owned(), outcome));
    }
    for assertion in case["assert"].as_array().into_iter().flatten() {
        let name = format!("assert {}", assertion["type"].as_str().unwrap());
        outcomes.push((name, checks::assertion(resources, assertion)));
    }
    outcomes
}
