//! The documentation lists what there is.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use meltemi_analysis::codes;

#[test]
fn the_table_of_codes_is_the_programs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/analysis.md");
    let text = fs::read_to_string(path).unwrap();
    let written: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| IST") || line.starts_with("| MEL"))
        .collect();
    let known: Vec<String> = codes()
        .iter()
        .map(|code| {
            format!(
                "| {} | {} | {} | {} | {} |",
                code.id, code.name, code.level, code.meaning, code.remedy
            )
        })
        .collect();
    assert_eq!(written, known);
}
