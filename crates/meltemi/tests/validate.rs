//! `meltemi validate`: what it prints and how it exits, without a mesh.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn validate(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_meltemi"))
        .arg("validate")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

const GOOD: &str = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d}
spec:
  host: reviews
  trafficPolicy:
    retryBudget: {budgetInterval: 5s}
---
apiVersion: batch/v1
kind: Job
metadata: {name: j}
";

const WRONG: &str = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d, namespace: ns}
spec:
  hots: reviews
";

#[test]
fn good_files_are_fine_and_what_has_no_effect_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let output = validate(directory.path(), &["-"], GOOD);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        "notice: stdin:7: DestinationRule default/d spec.trafficPolicy.retryBudget.budgetInterval: this field is \
         accepted but has no effect yet; do not rely on it, or leave it out\n\
         1 file, 1 object, 0 invalid, 1 notice\n\
         passed over, of other kinds: 1 Job\n"
    );
}

#[test]
fn a_wrong_object_of_a_directory_is_told_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(directory.path().join("good.yaml"), GOOD).unwrap();
    std::fs::write(below.join("wrong.yml"), WRONG).unwrap();
    std::fs::write(below.join("notes.txt"), "no YAML").unwrap();
    let output = validate(
        directory.path(),
        &["-f", "a", "good.yaml", "-o", "json"],
        "",
    );
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["files"], &report["objects"], &report["invalid"]),
        (&json!(2), &json!(2), &json!(1))
    );
    assert_eq!(report["passed_over"], json!({"Job": 1}));
    let error = report["messages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|message| message["severity"] == "error")
        .unwrap();
    assert_eq!(
        *error,
        json!({
            "severity": "error",
            "code": null,
            "file": "a/b/wrong.yml",
            "line": 5,
            "column": 3,
            "object": {"kind": "DestinationRule", "namespace": "ns", "name": "d"},
            "field": "spec.hots",
            "message": "unknown field \"hots\"",
            "remedy": "did you mean \"host\"?",
        })
    );
}

#[test]
fn wrong_usage_exits_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    for (arguments, said) in [
        (vec![], "required"),
        (vec!["absent.yaml"], "absent.yaml: cannot be read"),
        (vec!["empty"], "empty: has no .yaml, .yml or .json file"),
    ] {
        let output = validate(directory.path(), &arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}
