//! Istio's own bookinfo files are taken as they are.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use meltemi_api::Severity;
use meltemi_config::{Directory, DirectorySource, ReadOptions, SourceOptions};

#[tokio::test]
async fn bookinfo_has_no_errors_of_its_own() {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/istio-samples/bookinfo");
    if !root.exists() {
        println!("skipped: {} not found", root.display());
        return;
    }
    let directory = Directory {
        path: root,
        read: ReadOptions::default(),
    };
    let source = DirectorySource::open(vec![directory], SourceOptions::default())
        .await
        .unwrap();
    let published = source.current();
    // The samples define the same objects in many variants; anything else would be ours.
    let own: Vec<String> = published
        .errors
        .iter()
        .filter(|e| !e.message.contains("defined a second time"))
        .map(ToString::to_string)
        .collect();
    assert!(own.is_empty(), "{own:#?}");
    let warnings = published
        .warnings
        .iter()
        .filter(|w| w.severity != Severity::Info);
    let unexpected: Vec<String> = warnings
        .map(ToString::to_string)
        .filter(|w| !w.contains("is not a kind") && !w.contains("Ingress is not supported"))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    assert!(published.objects.len() > 30, "{}", published.objects.len());
}
