//! Text that a matcher takes.

use super::plan::text;
use serde_json::Value;

/// What the expressions of the captured configurations take.
const EXPRESSIONS: &[(&str, &str)] = &[
    ("GET|HEAD", "HEAD"),
    ("/api/v[0-9]+/.*", "/api/v7/items"),
    ("v[23]", "v3"),
    (".+", "something"),
    ("https://.*[.]example[.]com", "https://web.example.com"),
    (
        ".*/ns/untrusted/.*",
        "spiffe://cluster.local/ns/untrusted/sa/any",
    ),
];

pub fn expression(regex: &str) -> &'static str {
    let known = EXPRESSIONS.iter().find(|(known, _)| *known == regex);
    known
        .unwrap_or_else(|| panic!("what does {regex} take? Say it here"))
        .1
}

/// Of a `StringMatcher`.
pub fn string(matcher: &Value) -> String {
    let mut kinds = matcher.as_object().into_iter().flatten();
    let (kind, value) = kinds
        .find(|(kind, _)| *kind != "ignore_case")
        .expect("a matcher");
    match kind.as_str() {
        "exact" => text(value).to_owned(),
        "prefix" => format!("{}more", text(value)),
        "suffix" => format!("more{}", text(value)),
        "contains" => format!("more{}more", text(value)),
        "safe_regex" => expression(text(&value["regex"])).to_owned(),
        other => panic!("what does a matcher of kind {other} take? Say it here"),
    }
}

/// Of a domain or a server name.
pub fn host(pattern: &str) -> String {
    match pattern.strip_prefix('*') {
        Some("") => "any.test".into(),
        Some(suffix) => format!("any{suffix}"),
        None => pattern.to_owned(),
    }
}
