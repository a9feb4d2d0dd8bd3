//! Files of a configuration directory: YAML with positions, objects, their validation.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use meltemi_config::offline::check_text;
use meltemi_config::yaml::{Document, parse};

fuzz_target!(|input: &[u8]| {
    messages(input);
    for document in parse(input) {
        match document {
            Ok(document) => check(input, &document),
            Err(error) => {
                assert!(error.at.line >= 1 && error.at.column >= 1, "{error:?}");
                assert!(!error.message.is_empty() && !error.remedy.is_empty());
                assert!(error.range.end <= input.len());
            }
        }
    }
});

/// Most lines an input can have: a carriage return alone ends one too (YAML 1.2, 5.4).
fn lines(input: &[u8]) -> u32 {
    1 + input.iter().filter(|byte| b"\r\n".contains(byte)).count() as u32
}

/// What is said of a file points into it, and says what to do.
fn messages(input: &[u8]) {
    let file = Arc::from(Path::new("f.yaml"));
    let lines = lines(input);
    for checked in check_text(&file, input, "default") {
        for finding in checked.findings {
            assert!((1..=lines).contains(&finding.line), "{finding:?}");
            assert!(!finding.message.is_empty() && !finding.remedy.is_empty());
        }
    }
}

fn check(input: &[u8], document: &Document) {
    assert!(document.range.end <= input.len(), "{:?}", document.range);
    assert!((1..=lines(input) + 1).contains(&document.root.at.line));
    let value = document.root.to_value();
    // Naming an object and reading it refuse in words.
    let _ = meltemi_api::identify(&value, "default");
    match meltemi_api::decode(&value, "default") {
        Ok(object) => {
            for finding in meltemi_api::check(&value, &object) {
                assert!(!finding.message.is_empty());
            }
            // What was read can be written, and is read again as the same.
            let value = object.to_value();
            let text = meltemi_config::to_yaml(&value);
            match &parse(text.as_bytes())[..] {
                [Ok(again)] => assert_eq!(again.root.to_value(), value, "{text}"),
                other => panic!("{other:?} from {text}"),
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
