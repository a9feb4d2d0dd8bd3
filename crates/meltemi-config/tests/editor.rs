//! Edits keep what they do not touch, byte for byte.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;

use meltemi_api::{Kind, ObjectKey};
use meltemi_config::{Action, Directory, Editor, ReadOptions};
use tempfile::TempDir;

const FILE: &str = "# the first\napiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a   # kept\n---\n# the second\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: b}\n---\n\n# the third\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: c}\n";

fn editor(dir: &TempDir) -> Editor {
    Editor::new(Directory {
        path: dir.path().to_owned(),
        read: ReadOptions::default(),
    })
}

fn account(name: &str, label: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, labels: {{x: {label}}}}}\n"
    )
}

#[test]
fn replaces_one_document_and_creates_another() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("all.yaml");
    fs::write(&file, FILE).unwrap();
    let editor = editor(&dir);
    let applied = editor
        .apply(&format!(
            "{}---\n{}",
            account("b", "new"),
            account("d", "new")
        ))
        .unwrap();
    let actions: Vec<Action> = applied.outcomes.iter().map(|o| o.action).collect();
    assert_eq!(actions, [Action::Configured, Action::Created]);
    let expected = FILE.replace(
        "# the second\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: b}\n",
        &account("b", "new"),
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    let created = fs::read_to_string(dir.path().join("serviceaccount-default-d.yaml")).unwrap();
    assert_eq!(created, account("d", "new"));
    let again = editor.apply(&account("d", "new")).unwrap();
    assert_eq!(again.outcomes[0].action, Action::Unchanged);
}

#[test]
fn nothing_is_written_when_something_is_wrong() {
    let dir = TempDir::new().unwrap();
    let bad = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: x}\nspec: {}\n";
    let errors = editor(&dir)
        .apply(&format!("{}---\n{bad}", account("a", "one")))
        .unwrap_err();
    assert_eq!(errors[0].line, 6, "{}", errors[0]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn deletes_documents_and_then_the_file() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("all.yaml");
    fs::write(&file, FILE).unwrap();
    let editor = editor(&dir);
    let key = |name: &str| ObjectKey::new(Kind::ServiceAccount, "default", name);
    editor.delete(&key("b")).unwrap();
    let left = fs::read_to_string(&file).unwrap();
    assert!(
        left.contains("# the first") && left.contains("name: a   # kept\n---\n\n# the third"),
        "{left}"
    );
    editor.delete(&key("c")).unwrap();
    assert!(!fs::read_to_string(&file).unwrap().contains("---"));
    editor.delete(&key("a")).unwrap();
    assert!(!file.exists());
    assert!(editor.delete(&key("a")).is_err());
}

#[test]
fn shows_what_would_change() {
    let dir = TempDir::new().unwrap();
    let editor = editor(&dir);
    editor.apply(&account("a", "old")).unwrap();
    let diff = editor.diff(&account("a", "new")).unwrap().diff;
    assert!(
        diff.contains("-    x: old") && diff.contains("+    x: new"),
        "{diff}"
    );
    assert_eq!(editor.diff(&account("a", "old")).unwrap().diff, "");
}
