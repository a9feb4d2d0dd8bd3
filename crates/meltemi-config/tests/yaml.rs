//! YAML with positions: lines are exact, a broken document hides no other, any bytes return.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use meltemi_api::FieldPath;
use meltemi_config::yaml::{Position, parse};
use proptest::prelude::*;
use serde_json::json;

#[test]
fn positions_are_those_of_keys_and_elements() {
    let text = "# comment\n---\na: 1\nb:\n  - x: 1\n    y: 2\n  - z\n---\nc: {d: 4}\n";
    let documents = parse(text.as_bytes());
    assert_eq!(documents.len(), 2);
    let first = documents[0].as_ref().unwrap();
    let path = |steps: &[&str]| {
        steps.iter().fold(FieldPath::root(), |path, step| {
            match step.parse::<usize>() {
                Ok(index) => path.index(index),
                Err(_) => path.field(*step),
            }
        })
    };
    let at = |steps: &[&str]| {
        let Position { line, column } = first.root.position(&path(steps));
        (line, column)
    };
    assert_eq!(at(&["a"]), (3, 1));
    assert_eq!(at(&["b", "0", "y"]), (6, 5));
    assert_eq!(at(&["b", "1"]), (7, 5));
    assert_eq!(at(&["b", "0", "missing"]), (5, 5));
    let second = documents[1].as_ref().unwrap();
    assert_eq!(second.root.position(&path(&["c", "d"])).line, 9);
}

#[test]
fn a_broken_document_hides_no_other() {
    let text = "a: 1\n---\nb: [1, 2\nc: }\n---\nd: 3\n";
    let documents = parse(text.as_bytes());
    assert_eq!(documents.len(), 3);
    assert!(documents[0].is_ok());
    let error = documents[1].as_ref().unwrap_err();
    assert!((3..=4).contains(&error.at.line), "{error:?}");
    assert_eq!(
        documents[2].as_ref().unwrap().root.to_value(),
        json!({"d": 3})
    );
}

#[test]
fn duplicate_keys_name_both_lines() {
    let documents = parse(b"x:\n  a: 1\n  b: 2\n  a: 3\n");
    let error = documents[0].as_ref().unwrap_err();
    assert_eq!(error.at.line, 4);
    assert!(error.message.contains("line 2"), "{error}");
}

#[test]
fn anchors_and_merges() {
    let documents = parse(b"base: &b {a: 1, b: 2}\nx:\n  <<: *b\n  b: 3\n");
    let value = documents[0].as_ref().unwrap().root.to_value();
    assert_eq!(value["x"], json!({"a": 1, "b": 3}));
}

#[test]
fn alias_bombs_and_deep_nesting_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..10 {
        let refs = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    assert!(parse(bomb.as_bytes())[0].is_err());
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(parse(deep.as_bytes())[0].is_err());
    assert!(parse(&[0xff, 0xfe, b'a'])[0].is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_return(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        parse(&bytes);
    }

    #[test]
    fn any_yaml_like_text_returns(text in "[ \\-:#&*!|>'\"%@`{}\\[\\],a-c0-3\n\t~<.?]{0,200}") {
        parse(text.as_bytes());
    }

    #[test]
    fn json_reads_as_itself(numbers in prop::collection::vec(any::<i64>(), 0..8), text in "[ -~]{0,30}") {
        let value = json!({"numbers": numbers, "text": text, "nested": {"list": [{"a": null}]}});
        let documents = parse(value.to_string().as_bytes());
        prop_assert_eq!(documents[0].as_ref().unwrap().root.to_value(), value);
    }
}
