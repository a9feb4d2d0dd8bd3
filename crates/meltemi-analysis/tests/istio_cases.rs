//! Istio's own analysis cases: the same files give the same messages.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use meltemi_analysis::{
    Analyzer, Index, Message, Options, SourceFile, Suppressions, analyze, analyzers, by_default,
};
use serde_json::Value;

/// Where all analyzers together say something else than Istio's: case, code, why.
const DEPARTURES: &[(&str, &str, &str)] = &[
    (
        "alpha",
        "IST0106",
        "the API server refuses this Ingress: its fields are those of v1beta1",
    ),
    (
        "alpha",
        "IST0133",
        "the API server refuses this Ingress: its fields are those of v1beta1",
    ),
    (
        "misannoted",
        "IST0106",
        "the API server refuses this Ingress: its fields are those of v1beta1",
    ),
    (
        "misannoted",
        "IST0133",
        "the API server refuses this Ingress: its fields are those of v1beta1",
    ),
    (
        "conflicting_gateways_detect_by_sub_selector",
        "IST0101",
        "Istio takes a workload without namespace for none",
    ),
    (
        "gatewayCustomIngressGatewayBadPortWithoutTarget",
        "IST0101",
        "Istio takes a workload without namespace for none",
    ),
    (
        "host_defined_in_virtualservice_not_found_in_the_gateway_with_ns(beta_version)",
        "IST0145",
        "Istio compares ./host and */host as texts; here they conflict as they do in the proxy",
    ),
    (
        "ServiceEntry_Addresses_Required_Lowercase_Protocol",
        "IST0133",
        "Istio warns about TCP in capitals only",
    ),
    (
        "deprecation",
        "IST0106",
        "fields that do not exist are errors, as for the API server",
    ),
    (
        "deprecation",
        "IST0133",
        "an object with such a field is not looked at further",
    ),
];

/// Code, level and resource of messages, with how often.
type Said = BTreeMap<(String, String, String), usize>;

fn cases() -> Option<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/istio-cases/analyze.jsonl");
    let Ok(text) = fs::read_to_string(&path) else {
        println!("left out: {} not found", path.display());
        return None;
    };
    Some(
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

fn file(file: &Value, cluster: Option<&str>) -> SourceFile {
    SourceFile {
        name: Path::new(file["name"].as_str().unwrap()).into(),
        bytes: file["content"].as_str().unwrap().into(),
        cluster: cluster.map(Arc::from),
        layer: 0,
    }
}

/// Istio's harness hands MeshNetworks over as a file; in a mesh they are in a ConfigMap.
fn networks(file: &Value, system: &str) -> SourceFile {
    let text = file["content"].as_str().unwrap().replace('\n', "\n    ");
    SourceFile {
        name: Path::new(file["name"].as_str().unwrap()).into(),
        bytes: format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: {system}}}\ndata:\n  meshNetworks: |\n    {text}\n"
        )
        .into(),
        cluster: None,
        layer: 0,
    }
}

fn index(case: &Value) -> Index {
    let system = case["systemNamespace"].as_str().unwrap();
    let files = case["files"].as_array().into_iter().flatten();
    let mut files: Vec<SourceFile> = files.map(|entry| file(entry, None)).collect();
    for (cluster, list) in case["filesByCluster"].as_object().into_iter().flatten() {
        files.extend(
            list.as_array()
                .unwrap()
                .iter()
                .map(|entry| file(entry, Some(cluster))),
        );
    }
    if case["meshNetworksFile"].is_object() {
        files.push(networks(&case["meshNetworksFile"], system));
    }
    let mesh = &case["meshConfigFile"];
    let options = Options {
        default_namespace: String::new(),
        system_namespace: system.to_owned(),
        mesh_config: mesh.is_object().then(|| {
            let name = Path::new(mesh["name"].as_str().unwrap());
            (name.into(), mesh["content"].as_str().unwrap().to_owned())
        }),
        ..Options::default()
    };
    Index::read(&files, &options)
}

fn run(index: &Index, analyzers: &[&dyn Analyzer]) -> Vec<Message> {
    Suppressions::default().filter(index, analyze(index, analyzers))
}

fn said<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Said {
    let mut said = Said::new();
    for message in messages {
        let resource = message
            .resource
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        let key = (
            message.code.id.to_owned(),
            message.level().to_string(),
            resource,
        );
        *said.entry(key).or_default() += 1;
    }
    said
}

fn expected(list: &Value) -> Said {
    let mut said = Said::new();
    for entry in list.as_array().into_iter().flatten() {
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        *said
            .entry((text("code"), text("level"), text("resource")))
            .or_default() += 1;
    }
    said
}

#[test]
fn each_analyzer_says_exactly_what_istios_says() {
    let mut wrong = Vec::new();
    let Some(cases) = cases() else { return };
    for case in &cases {
        let name = case["analyzer"].as_str().unwrap();
        let one = analyzers()
            .iter()
            .copied()
            .find(|analyzer| analyzer.name() == name);
        let Some(one) = one else {
            wrong.push(format!("there is no {name}"));
            continue;
        };
        let messages = run(&index(case), &[one]);
        let (said, expected) = (said(&messages), expected(&case["expect"]));
        if said != expected {
            wrong.push(format!(
                "{} {name}\n  said {said:#?}\n  expected {expected:#?}",
                case["name"]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}: {}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    println!("{} cases", cases.len());
}

#[test]
fn all_analyzers_together_say_what_istios_say() {
    let mut wrong = Vec::new();
    let Some(cases) = cases() else { return };
    let mut compared = 0;
    let mut used = BTreeSet::new();
    for case in cases.iter().filter(|case| case["messagesAll"].is_array()) {
        let index = index(case);
        let messages = run(&index, &by_default(&index));
        // Meltemi's own analyzers see more.
        let said = said(
            messages
                .iter()
                .filter(|message| message.code.id.starts_with("IST")),
        );
        let expected = expected(&case["messagesAll"]);
        compared += 1;
        for key in said.keys().chain(expected.keys()).collect::<BTreeSet<_>>() {
            let count = |of: &Said| of.get(key).copied().unwrap_or_default();
            let (count, wanted) = (count(&said), count(&expected));
            let departure = DEPARTURES
                .iter()
                .find(|(name, code, _)| case["name"] == *name && key.0 == *code);
            match departure {
                _ if count == wanted => {}
                Some(departure) => {
                    used.insert(departure);
                }
                None => wrong.push(format!(
                    "{}: {key:?} {count} times, not {wanted}",
                    case["name"]
                )),
            }
        }
    }
    for departure in DEPARTURES
        .iter()
        .filter(|departure| !used.contains(departure))
    {
        wrong.push(format!("{departure:?} is no departure any more"));
    }
    assert!(
        wrong.is_empty(),
        "of {compared} cases:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_message_points_at_a_line_and_says_what_to_do() {
    let Some(cases) = cases() else { return };
    for case in &cases {
        let index = index(case);
        println!("\n## {}", case["name"]);
        for message in run(&index, analyzers()) {
            println!("{message}");
            let place = message.place.as_ref();
            assert!(
                place.is_some_and(|place| place.line > 0),
                "{}: {message}",
                case["name"]
            );
            assert!(
                !message.text.is_empty() && !message.remedy.is_empty(),
                "{message}"
            );
        }
    }
}
