//! Tests of configuration, and explanations, over bookinfo.

// The configuration that allows it in tests does not see helper functions.
#![allow(clippy::unwrap_used)]

use meltemi_config::read_once;
use meltemi_simulation::suite::{self, Report};
use meltemi_simulation::{Explanation, Mesh, Part, Request};
use std::path::{Path, PathBuf};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples")
}

#[test]
fn the_sample_passes() {
    let report = suite::run(&samples().join("tests/bookinfo.yaml"), "").unwrap();
    for result in &report.results {
        assert!(result.passed(), "{}: {:?}", result.name, result.failures);
    }
    assert!(report.results.len() >= 12);
}

/// Runs tests over bookinfo, written as a file of its own.
fn run(name: &str, tests: &str) -> Result<Report, String> {
    let samples = samples().canonicalize().unwrap();
    let text = format!(
        "apiVersion: meltemi.dev/v1alpha1\nkind: ConfigurationTest\nconfiguration: [{0}/bookinfo, {0}/routing/reviews-jason-v2.yaml]\nfrom: productpage\n{tests}",
        samples.display()
    );
    let file = std::env::temp_dir().join(format!("meltemi-suite-{}-{name}", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let report = suite::run(&file, "").map_err(|error| error.to_string());
    std::fs::remove_file(&file).unwrap();
    report
}

#[test]
fn what_is_not_as_expected_is_told_with_what_came_out() {
    let report = run(
        "wrong.yaml",
        "tests:
- name: all wrong
  call: {url: 'http://reviews:9080/'}
  expect:
    destination: {host: reviews, subset: v2}
    rule: VirtualService default/reviews spec.http[0].match[0]
    timeout: 3s
    requestHeaders: {set: {x-test: 'a'}}
- name: comes through after all
  call: {url: 'http://reviews:9080/'}
  expect: {refused: no_route}
- name: is refused
  call: {url: 'http://nobody:9080/'}
  expect: {}
",
    )
    .unwrap();
    let failures: Vec<&[String]> = report.results.iter().map(|r| &*r.failures).collect();
    assert_eq!(
        failures[0],
        [
            "destination: expected reviews subset v2, found reviews.default.svc.cluster.local subset v3 port 9080 weight 1",
            "rule: expected VirtualService default/reviews spec.http[0].match[0], found VirtualService default/reviews spec.http[1]",
            "timeout: expected 3s, found none",
            "requestHeaders: there is no Set x-test a",
        ]
    );
    assert_eq!(
        failures[1],
        ["refused: expected no_route, found not refused"]
    );
    assert_eq!(
        failures[2],
        ["refused: no_such_host at productpage-v1-0.default (the name does not resolve)"]
    );
    assert!(
        report.results[1].place.ends_with(":13"),
        "{}",
        report.results[1].place
    );
}

#[test]
fn a_misspelt_expectation_is_refused() {
    let error = run(
        "misspelt.yaml",
        "tests:\n- name: x\n  call: {url: 'http://reviews:9080/'}\n  expect: {clutser: x}\n",
    )
    .unwrap_err();
    assert!(
        error.contains("clutser") && error.contains("docs/test.md"),
        "{error}"
    );
}

fn explain(from: &str, url: &str, header: Option<(&str, &str)>, inline: &str) -> Explanation {
    let paths = [samples().join("bookinfo")];
    let published = read_once(&paths, &[("extra.yaml".into(), inline.to_owned())]);
    assert!(published.errors.is_empty(), "{:?}", published.errors);
    let mesh = Mesh::new(published.objects);
    let from = mesh.proxy(from).unwrap();
    let request = Request {
        url: url.to_owned(),
        headers: header
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect(),
        ..Request::default()
    };
    let journey = mesh.follow(&from, &request).unwrap();
    mesh.explain(&from, &journey)
}

const ROUTES: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match:
    - headers: {end-user: {exact: jason}}
    route:
    - destination: {host: reviews, subset: v2}
  - match:
    - uri: {prefix: /broken}
    route:
    - destination: {host: reviews, subset: v9}
";

fn rules(explanation: &Explanation, part: Part) -> Vec<String> {
    explanation
        .evidence
        .iter()
        .filter(|evidence| evidence.part == part)
        .map(|evidence| evidence.rule.to_string())
        .collect()
}

#[test]
fn the_rule_that_decides_is_named_with_those_before_and_after() {
    let jason = Some(("end-user", "jason"));
    let explanation = explain("productpage", "http://reviews:9080/", jason, ROUTES);
    assert_eq!(
        explanation.sentence,
        "VirtualService default/reviews spec.http[0].match[0] (extra.yaml:1) sends it to subset v2 of reviews.default.svc.cluster.local port 9080 (1 endpoint); the server's proxy lets it in, by mutual TLS."
    );
    assert_eq!(explanation.remedy, None);
    assert_eq!(
        rules(&explanation, Part::NotReached),
        ["VirtualService default/reviews spec.http[1].match[0]"]
    );
    assert_eq!(
        rules(&explanation, Part::Policy),
        ["DestinationRule default/reviews spec.subsets[1]"]
    );
}

#[test]
fn a_route_to_nowhere_names_the_field_and_the_remedy() {
    let explanation = explain("productpage", "http://reviews:9080/broken", None, ROUTES);
    assert_eq!(
        explanation.sentence,
        "VirtualService default/reviews spec.http[1].route[0].destination.subset (extra.yaml:1) leads nowhere: no DestinationRule for reviews.default.svc.cluster.local has a subset \"v9\" (503)."
    );
    assert_eq!(explanation.remedy.as_deref(), Some("add it"));
}

#[test]
fn a_request_that_no_route_takes_is_told_why_each_does_not() {
    let explanation = explain("productpage", "http://reviews:9080/", None, ROUTES);
    assert!(
        explanation
            .sentence
            .starts_with("No route of VirtualService default/reviews")
    );
    let reasons: Vec<&str> = explanation
        .evidence
        .iter()
        .map(|evidence| evidence.note.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "header end-user is not jason",
            "the path does not begin with /broken"
        ]
    );
}

#[test]
fn plaintext_to_strict_mutual_tls_names_both_sides() {
    let inline = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plain}
spec:
  host: details
  trafficPolicy: {tls: {mode: DISABLE}}
";
    let explanation = explain("productpage", "http://details:9080/", None, inline);
    assert!(
        explanation
            .sentence
            .contains("PeerAuthentication default/strict spec.mtls")
            && explanation
                .sentence
                .contains("sends plaintext because of DestinationRule default/plain"),
        "{}",
        explanation.sentence
    );
    assert!(explanation.remedy.is_some());
}

#[test]
fn the_way_through_a_gateway_is_followed_to_the_server() {
    let url = "http://localhost:8080/productpage";
    let explanation = explain("istio-ingressgateway", url, None, "");
    assert!(
        explanation
            .sentence
            .contains("VirtualService default/bookinfo spec.http[0].match[1]")
            && explanation.sentence.contains("by mutual TLS"),
        "{}",
        explanation.sentence
    );
}
