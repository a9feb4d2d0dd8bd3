//! Istio's own bookinfo files are taken as they are.

use std::path::Path;

use meltemi_config::{Directory, DirectorySource, ReadOptions, SourceOptions, references};

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
    for warning in &published.warnings {
        println!("{}: {warning}", warning.severity);
    }
    for finding in references(&published.objects) {
        println!("{finding}");
    }
    assert!(published.objects.len() > 30, "{}", published.objects.len());
}
