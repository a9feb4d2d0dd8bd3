//! Neither the order of files nor the way to a state changes what is in force.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;

use meltemi_config::{Directory, DirectorySource, Objects, ReadOptions, SourceOptions};
use proptest::prelude::*;
use tempfile::TempDir;

const FILES: usize = 4;

/// What is done to one of the files.
#[derive(Debug, Clone)]
enum Edit {
    Write(usize, Vec<(usize, usize)>),
    Remove(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let documents = prop::collection::vec((0..6usize, 0..3usize), 0..4);
    prop_oneof![
        4 => (0..FILES, documents).prop_map(|(file, documents)| Edit::Write(file, documents)),
        1 => (0..FILES).prop_map(Edit::Remove),
    ]
}

fn text(documents: &[(usize, usize)]) -> String {
    let documents: Vec<String> = documents
        .iter()
        .map(|(name, value)| {
            format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: n{name}, labels: {{v: v{value}}}}}\n")
        })
        .collect();
    documents.join("---\n")
}

fn apply(dir: &TempDir, edit: &Edit) {
    match edit {
        Edit::Write(file, documents) => {
            fs::write(dir.path().join(format!("{file}.yaml")), text(documents)).unwrap();
        }
        Edit::Remove(file) => {
            // It may not be there.
            let _ = fs::remove_file(dir.path().join(format!("{file}.yaml")));
        }
    }
}

async fn open(dir: &TempDir) -> DirectorySource {
    let directory = Directory {
        path: dir.path().to_owned(),
        read: ReadOptions::default(),
    };
    DirectorySource::open(vec![directory], SourceOptions::default())
        .await
        .unwrap()
}

fn contents(objects: &Objects) -> Vec<(String, String)> {
    objects
        .iter()
        .map(|o| (o.key().to_string(), o.to_value().to_string()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_from_scratch(edits in prop::collection::vec(edit(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = TempDir::new().unwrap();
            let source = open(&dir).await;
            let mut version = source.current().objects.version();
            for edit in &edits {
                apply(&dir, edit);
                let now = source.refresh().await.objects.version();
                prop_assert!(now >= version);
                version = now;
            }
            let incremental = source.current();
            let scratch = open(&dir).await.current();
            prop_assert_eq!(contents(&incremental.objects), contents(&scratch.objects));
            prop_assert_eq!(&incremental.errors, &scratch.errors);
            Ok(())
        })?;
    }

    #[test]
    fn order_of_creation_changes_nothing(
        files in prop::collection::vec(prop::collection::vec((0..6usize, 0..3usize), 0..4), FILES),
        order in Just((0..FILES).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (straight, shuffled) = (TempDir::new().unwrap(), TempDir::new().unwrap());
            for file in 0..FILES {
                apply(&straight, &Edit::Write(file, files[file].clone()));
                apply(&shuffled, &Edit::Write(order[file], files[order[file]].clone()));
            }
            let (a, b) = (open(&straight).await.current(), open(&shuffled).await.current());
            prop_assert_eq!(contents(&a.objects), contents(&b.objects));
            prop_assert_eq!(a.errors.len(), b.errors.len());
            Ok(())
        })?;
    }
}
