//! Agreement with Istio's own verdicts on objects of the kinds that are honoured.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;

use meltemi_api::{Severity, decode, validate};
use serde::Deserialize;
use serde_json::{Value, json};

/// Cases on which both agree, per kind; to be raised, never lowered.
const FLOORS: [(&str, usize); 8] = [
    ("VirtualService", 113),
    ("DestinationRule", 61),
    ("Gateway", 46),
    ("ServiceEntry", 44),
    ("WorkloadEntry", 9),
    ("WorkloadGroup", 6),
    ("Sidecar", 33),
    ("PeerAuthentication", 12),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    kind: String,
    name: String,
    api_version: Option<String>,
    metadata: Option<Value>,
    spec: Value,
    valid: bool,
    #[serde(default)]
    warning: bool,
    error: Option<String>,
    schema_valid: Option<bool>,
    schema_error: Option<String>,
    warning_text: Option<String>,
}

#[test]
fn agrees_with_istio() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/istio-cases/validation.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} not found", path.display());
        return;
    };
    let mut counts: BTreeMap<String, (usize, usize, usize)> = BTreeMap::new();
    for line in text.lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        if !FLOORS.iter().any(|(kind, _)| *kind == case.kind) {
            continue;
        }
        let count = counts.entry(case.kind.clone()).or_default();
        count.1 += 1;
        let object = json!({
            "apiVersion": case.api_version,
            "kind": case.kind,
            "metadata": case.metadata,
            "spec": case.spec,
        });
        let (accepted, warned, said) = match decode(&object, "default") {
            Err(error) => (false, false, error.to_string()),
            Ok(object) => {
                let findings = validate(&object);
                let has = |severity| findings.iter().any(|f| f.severity == severity);
                let said: Vec<String> = findings
                    .iter()
                    .map(|f| format!("{}: {}", f.path, f.message))
                    .collect();
                (
                    !has(Severity::Error),
                    has(Severity::Warning),
                    said.join(" | "),
                )
            }
        };
        let expected = case.valid && case.schema_valid != Some(false);
        if accepted == expected {
            count.0 += 1;
            if accepted && warned != case.warning {
                count.2 += 1;
                println!(
                    "warning differs: {} {}: istio {:?}, here {said:?}",
                    case.kind, case.name, case.warning_text
                );
            }
        } else {
            println!(
                "verdict differs: {} {}: istio valid={expected} {:?} {:?}, here {said:?}\n  {}",
                case.kind, case.name, case.error, case.schema_error, case.spec
            );
        }
    }
    let (mut agreed, mut all) = (0, 0);
    for (kind, floor) in FLOORS {
        let (same, total, warnings) = counts[kind];
        println!("{kind}: {same} of {total} verdicts, {warnings} warnings differ");
        agreed += same;
        all += total;
        assert!(same >= floor, "{kind}: {same} agree, {floor} did before");
    }
    println!("all: {agreed} of {all}");
}
