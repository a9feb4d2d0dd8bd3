//! References that lead nowhere, against Istio's own analysis of the same files.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use meltemi_config::{Directory, DirectorySource, ReadOptions, SourceOptions, references};
use serde_json::Value;
use tempfile::TempDir;

/// Istio's analyzers that are covered.
const COVERED: [&str; 3] = [
    "virtualservice.DestinationHostAnalyzer",
    "virtualservice.DestinationRuleAnalyzer",
    "virtualservice.GatewayAnalyzer",
];

/// Objects that Istio reports and this does not: routes that cannot see a service because of
/// its exportTo.
const KNOWN_GAPS: usize = 2;

#[tokio::test]
async fn finds_what_istio_finds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/istio-cases/analyze.jsonl");
    let Ok(text) = fs::read_to_string(&path) else {
        println!("skipped: {} not found", path.display());
        return;
    };
    let (mut missed, mut invented, mut cases) = (Vec::new(), Vec::new(), 0);
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if !COVERED.contains(&case["analyzer"].as_str().unwrap_or_default()) {
            continue;
        }
        cases += 1;
        let dir = TempDir::new().unwrap();
        for (index, file) in case["files"].as_array().unwrap().iter().enumerate() {
            let text = file["content"].as_str().unwrap();
            fs::write(dir.path().join(format!("{index}.yaml")), text).unwrap();
        }
        let directory = Directory {
            path: dir.path().to_owned(),
            read: ReadOptions::default(),
        };
        let source = DirectorySource::open(vec![directory], SourceOptions::default())
            .await
            .unwrap();
        let published = source.current();
        let found: BTreeSet<String> = references(&published.objects)
            .iter()
            .chain(&published.errors)
            .filter_map(|finding| finding.object.as_ref().map(|key| key.name.clone()))
            .collect();
        let mut names = BTreeSet::new();
        for expected in case["expect"].as_array().unwrap() {
            let resource = expected["resource"].as_str().unwrap();
            let name = resource.rsplit(['/', ' ']).next().unwrap();
            names.insert(name.to_owned());
            if !found.contains(name) {
                missed.push(format!("{} {resource}", case["name"]));
            }
        }
        // Other analyzers of Istio's have their say about the same files.
        let all = case["messagesAll"].to_string();
        for name in found
            .difference(&names)
            .filter(|name| !all.contains(name.as_str()))
        {
            invented.push(format!("{} {name}", case["name"]));
        }
    }
    assert!(cases > 0);
    assert!(missed.len() <= KNOWN_GAPS, "{missed:#?}");
    assert!(invented.is_empty(), "{invented:#?}");
    println!("{cases} cases, missed: {missed:#?}");
}
