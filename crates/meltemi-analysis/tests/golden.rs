//! Files of our own and every word that is said of them. `UPDATE_GOLDEN=1` writes the
//! words anew: read the difference.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use meltemi_analysis::{Index, Options, SourceFile, Suppressions, analyze, by_default};

fn check(name: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let file = SourceFile {
        name: Path::new(&format!("{name}.yaml")).into(),
        bytes: fs::read(directory.join(format!("{name}.yaml"))).unwrap(),
        cluster: None,
        layer: 0,
    };
    let index = Index::read(&[file], &Options::default());
    let messages = analyze(&index, &by_default(&index));
    let messages = Suppressions::default().filter(&index, messages);
    let said: String = messages
        .iter()
        .map(|message| format!("{message}\n"))
        .collect();
    let path = directory.join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &said).unwrap();
    }
    assert_eq!(said, fs::read_to_string(&path).unwrap_or_default());
}

#[test]
fn routes_that_do_not_work() {
    check("routing");
}

#[test]
fn mutual_tls_taken_away() {
    check("mtls");
}

#[test]
fn documents_that_are_wrong_by_themselves() {
    check("documents");
}
