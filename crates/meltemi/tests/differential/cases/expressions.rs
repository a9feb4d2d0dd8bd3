//! Regular expressions, which Envoy gives to RE2.

use crate::bootstrap::{Config, any_host, clusters, http_listener};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

/// What a header's whole value is matched with, and values.
const EXPRESSIONS: &[(&str, &[&str])] = &[
    (r"\d+", &["09", "٣", "1a"]),
    (r"[\D]", &["٣", "3"]),
    (r"\w+", &["a_Z9", "é", "a-b"]),
    (r"[^\W]", &["_", "é"]),
    (r"a\sb", &["a b", "a\tb", "a_b"]),
    (r"\bé", &["é"]),
    (r"\Bé", &["é"]),
    (r"a\b.", &["aé", "ab", "a-"]),
    (r"\<a\>", &["<a>", "a"]),
    (r"/{id}", &["/{id}", "/id"]),
    (r"a{,2}", &["a{,2}", "aa"]),
    (r"a{2,}", &["a", "aaa"]),
    (r"[\w-.]+", &["a-.b", "a/b"]),
    (r"[a&&b]+", &["&a", "c"]),
    (r"[a~~b]+", &["~b", "c"]),
    (r"[[a]b]", &["[b]", "ab]", "a"]),
    (r"[]a]+", &["]a", "b"]),
    (r"[a-c--/]+", &["b.", "d"]),
    (r"\Qa.*\E.", &["a.*b", "abcd"]),
    (r"\101\x42\x{43}", &["ABC", "abc"]),
    (r"(?i)k\w", &["\u{212A}S", "Ka", "kß"]),
    (r"(?i:[a-c])D", &["BD", "Bd"]),
    (r"(?i)straße", &["STRAßE", "STRASSE"]),
    (r"(?U)a+", &["aaa", "b"]),
    (r"a.b", &["aéb", "a\u{FF}b", "ab"]),
    (r"a|bc", &["bc", "ac", "a"]),
    (r"^a$", &["a", "aa"]),
    (r"(?P<n>a)(?:b)", &["ab", "a"]),
    (r"[[:^alpha:][:upper:]]+", &["A1", "a", "é"]),
    (r"\p{Greek}\PN\pL", &["α-a", "α1a"]),
    (r"a #b", &["a #b", "ab"]),
    (r"\_\-\/\@", &["_-/@"]),
];

pub fn group() -> Group {
    Group {
        name: "expressions",
        config,
        cases,
    }
}

fn config(upstreams: &Upstreams) -> Config {
    let route = |(index, (expression, _)): (usize, &(&str, _))| {
        json!({
            "match": {
                "path": format!("/{index}"),
                "headers": [{ "name": "x-text", "string_match": { "safe_regex": { "regex": expression } } }],
            },
            "direct_response": { "status": 200 },
        })
    };
    let mut routes: Vec<Value> = EXPRESSIONS.iter().enumerate().map(route).collect();
    routes.push(json!({ "match": { "prefix": "/" }, "direct_response": { "status": 404 } }));
    Config {
        listeners: vec![http_listener(any_host(Value::Array(routes)), json!({}))],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

fn cases() -> Vec<Case> {
    let each = EXPRESSIONS.iter().enumerate();
    let cases = each.flat_map(|(index, (expression, texts))| {
        texts.iter().map(move |text| {
            let name = format!("{expression} and {text}").leak();
            Case::get(name, format!("/{index}")).header("x-text", *text)
        })
    });
    cases.collect()
}
