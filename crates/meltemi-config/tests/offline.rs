//! Files looked at without a mesh: every error, at its line, and no panic whatever is written.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::sync::Arc;

use meltemi_api::Severity;
use meltemi_config::offline::{Checked, check_text};
use proptest::prelude::*;

fn check(text: &str) -> Vec<Checked> {
    check_text(&Arc::from(Path::new("f.yaml")), text.as_bytes(), "default")
}

/// Line, severity and field of everything that is said.
fn said(text: &str) -> Vec<(u32, Severity, String)> {
    check(text)
        .into_iter()
        .flat_map(|checked| checked.findings)
        .map(|finding| (finding.line, finding.severity, finding.field.to_string()))
        .collect()
}

const VIRTUAL_SERVICE: &str = "\
# A rule.
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: r
  lables: {a: b}
spec:
  hosts: [r]
  http:
  - route:
    - destination: {host: r}
      wieght: 3
    - destination: {host: r}
      weight: \"3\"
    timeout: \"5\"
";

#[test]
fn every_field_that_cannot_be_read_is_told_at_its_line() {
    let error = |line, field: &str| (line, Severity::Error, field.to_owned());
    assert_eq!(
        said(VIRTUAL_SERVICE),
        [
            error(6, "metadata.lables"),
            error(12, "spec.http[0].route[0].wieght"),
            error(14, "spec.http[0].route[1].weight"),
            error(15, "spec.http[0].timeout"),
        ]
    );
    let first = &check(VIRTUAL_SERVICE)[0];
    assert_eq!(
        first.key.as_ref().unwrap().to_string(),
        "VirtualService default/r"
    );
    assert_eq!(first.findings[0].remedy, "did you mean \"labels\"?");
    assert_eq!(first.findings[1].remedy, "did you mean \"weight\"?");
}

#[test]
fn a_misspelt_kind_of_istio_is_wrong_and_other_kinds_are_passed_over() {
    let text = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolcy
metadata: {name: a}
---
apiVersion: batch/v1
kind: Job
metadata: {name: j}
";
    let checked = check(text);
    assert_eq!(checked[0].unknown_kind, None);
    assert!(checked[0].findings[0].is_error());
    assert_eq!(
        checked[0].findings[0].remedy,
        "did you mean \"AuthorizationPolicy\"?"
    );
    assert_eq!(checked[1].unknown_kind.as_deref(), Some("Job"));
}

#[test]
fn a_policy_that_is_wrong_and_one_that_is_not_supported_are_told_apart() {
    let policy = |action: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a}}\nspec:\n  action: {action}\n"
        )
    };
    let severities = |text: &str| -> Vec<Severity> {
        said(text)
            .into_iter()
            .map(|(_, severity, _)| severity)
            .collect()
    };
    assert_eq!(severities(&policy("ALLOW")), [Severity::Unsupported]);
    assert_eq!(
        severities(&policy("DENY")),
        [Severity::Unsupported, Severity::Error]
    );
}

#[test]
fn the_meshs_settings_are_read_where_they_are_written() {
    let block = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    enableAutoMtls: true
    trustDomain: a_b
  meshNetworks: |-
    networks:
      n:
        endpoints: [{fromRegistry: a.b}]
";
    let errors = |text: &str| -> Vec<(u32, String)> {
        said(text)
            .into_iter()
            .filter(|(_, severity, _)| *severity == Severity::Error)
            .map(|(line, _, field)| (line, field))
            .collect()
    };
    assert_eq!(
        errors(block),
        [
            (7, "spec.trustDomain".to_owned()),
            (11, "spec.networks.n.endpoints[0].fromRegistry".to_owned()),
        ]
    );
    let quoted = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: \"{\\\"trustDomain\\\": \\\"a_b\\\"}\"}";
    assert_eq!(errors(quoted), [(4, "spec.trustDomain".to_owned())]);
}

/// Objects of all of Istio's kinds, a line a field.
const ALL_KINDS: &str = include_str!("data/all-kinds.yaml");

#[test]
fn an_object_of_every_kind_is_right() {
    let wrong: Vec<_> = check(ALL_KINDS)
        .into_iter()
        .flat_map(|checked| checked.findings)
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.to_string())
        .collect();
    assert_eq!(wrong, [] as [String; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Lines are lost, doubled, cut and given other values: nothing panics, and every message
    /// points into the file.
    #[test]
    fn messages_point_into_the_file(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..6_u8, "[^\r\n]{0,12}"), 1..6)
    ) {
        let mut lines: Vec<String> = ALL_KINDS.lines().map(str::to_owned).collect();
        for (index, what, text) in edits {
            let at = index.index(lines.len());
            let line = lines[at].clone();
            match what {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, line),
                2 => lines[at] = line.chars().take(line.chars().count() / 2).collect(),
                3 => lines[at] = match line.split_once(": ") {
                    Some((key, _)) => format!("{key}: {text}"),
                    None => text,
                },
                4 => lines[at] = format!("{line}{text}"),
                _ => lines[at] = line.replacen(": ", "x: ", 1),
            }
        }
        let text = lines.join("\n");
        let last = u32::try_from(text.lines().count().max(1)).unwrap();
        for checked in check(&text) {
            prop_assert!((1..=last).contains(&checked.line));
            for finding in checked.findings {
                prop_assert!(
                    (1..=last).contains(&finding.line) && finding.column >= 1,
                    "{finding} at {}:{} of {last} lines", finding.line, finding.column
                );
                prop_assert!(!finding.message.is_empty() && !finding.remedy.is_empty());
            }
        }
    }
}
