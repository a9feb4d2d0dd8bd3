//! Documents as text.

use std::ops::Range;

use serde_json::Value;

/// A document's text as it is written to a file: one line break at the end.
pub(super) fn document_text(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

/// `text` without a document and one of the markers next to it.
pub(super) fn without(text: &str, range: Range<usize>) -> String {
    let (mut before, mut after) = (&text[..range.start], &text[range.end..]);
    if after.starts_with("---") {
        let line = after.find('\n').map_or(after.len(), |i| i + 1);
        let content = after[3..line].trim();
        // A marker with text on its line belongs to the next document.
        if content.is_empty() || content.starts_with('#') {
            after = &after[line..];
        }
    } else if after.is_empty()
        && let Some(last) = before.trim_end_matches('\n').rfind('\n').map(|i| i + 1)
        && before[last..].starts_with("---")
    {
        before = &before[..last];
    }
    format!("{before}{after}")
}

/// A value as YAML.
pub fn to_yaml(value: &Value) -> String {
    match serde_saphyr::to_string(value) {
        Ok(text) => document_text(&text),
        // JSON is YAML too.
        Err(_) => format!("{value:#}\n"),
    }
}
