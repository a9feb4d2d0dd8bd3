//! One canonical path for matching and forwarding.

use crate::bootstrap::{Config, any_host, clusters, http_listener};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "paths",
        config,
        cases,
    }
}

fn listener(more: Value) -> Value {
    let routes = json!([
        { "name": "admin", "match": { "prefix": "/admin" }, "direct_response": { "status": 403 } },
        { "name": "other", "match": { "prefix": "/" }, "route": { "cluster": "a" } },
    ]);
    http_listener(any_host(routes), more)
}

fn config(upstreams: &Upstreams) -> Config {
    let slashes = |action: &str| {
        listener(
            json!({ "normalize_path": true, "merge_slashes": true, "path_with_escaped_slashes_action": action }),
        )
    };
    Config {
        listeners: vec![
            listener(json!({})),
            listener(json!({ "normalize_path": true, "merge_slashes": true })),
            slashes("UNESCAPE_AND_FORWARD"),
            slashes("REJECT_REQUEST"),
            slashes("UNESCAPE_AND_REDIRECT"),
        ],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

macro_rules! every_listener {
    ($cases:ident: $($name:literal, $target:expr;)*) => {
        $(
            $cases.extend([
                Case::get(concat!("as it is: ", $name), $target),
                Case::get(concat!("normalized: ", $name), $target).on(1),
                Case::get(concat!("unescaped: ", $name), $target).on(2),
                Case::get(concat!("escapes refused: ", $name), $target).on(3),
                Case::get(concat!("escapes redirected: ", $name), $target).on(4),
            ]);
        )*
    };
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    every_listener! { cases:
        "plain", "/a/b";
        "dot segments", "/x/../admin/./y";
        "dot segments above the root", "/../../admin";
        "encoded dots", "/x/%2e%2E/admin";
        "two slashes", "//admin";
        "many slashes", "/x///y//";
        "encoded slash", "/x/..%2fadmin";
        "encoded slash, upper case", "/%2Fadmin";
        "encoded backslash", "/x%5cadmin";
        "backslash", "/x\\..\\admin";
        "encoded letters", "/%61dmin";
        "lower-case escapes", "/a%2db%c3%a4";
        "twice encoded", "/%252e%252e/admin";
        "broken escape", "/a%zz/%";
        "query is left alone", "/a?b=/../c//d%2f";
        "final dots", "/a/..";
        "dots with parameters", "/x/..;y/admin";
        "a dot with parameters", "/x/.;y=z/a";
        "final dots with parameters", "/a/b/..;";
        "parameters", "/a;x/...;y/;/b";
        "encoded NUL", "/a%00/b";
    }
    cases.push(Case::get("a fragment", "/a#/admin"));
    cases.push(Case::get("a fragment, normalized", "/a?b#c").on(1));
    cases.push(Case::raw(
        "a NUL in the path",
        "GET /a\0b HTTP/1.1\r\nHost: app.test\r\n\r\n",
    ));
    cases.push(Case::raw(
        "a byte above 127 in the path",
        b"GET /\xc3\xa4 HTTP/1.1\r\nHost: app.test\r\n\r\n",
    ));
    cases.push(Case::raw(
        "absolute form",
        "GET http://other.test/x?y HTTP/1.1\r\nHost: app.test\r\n\r\n",
    ));
    cases.push(Case::raw(
        "absolute form without a path",
        "GET http://other.test HTTP/1.1\r\nHost: app.test\r\n\r\n",
    ));
    cases.push(Case::raw(
        "a path without a slash",
        "GET x HTTP/1.1\r\nHost: app.test\r\n\r\n",
    ));
    cases
}
