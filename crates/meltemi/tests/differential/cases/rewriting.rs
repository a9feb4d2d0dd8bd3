//! What the service is asked in place of what the client asked; mirrors.

use crate::bootstrap::{Config, any_host, clusters, http_listener};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "rewriting",
        config,
        cases,
    }
}

fn route(matches: Value, action: Value) -> Value {
    let mut route = json!({ "cluster": "a" });
    route
        .as_object_mut()
        .unwrap()
        .extend(action.as_object().unwrap().clone());
    json!({ "match": matches, "route": route })
}

fn prefix(text: &str, action: Value) -> Value {
    route(json!({ "prefix": text }), action)
}

fn config(upstreams: &Upstreams) -> Config {
    let substitution = |pattern: &str, text: &str| json!({ "regex_rewrite": { "pattern": { "regex": pattern }, "substitution": text } });
    let mirror = |fraction: u32| json!({ "request_mirror_policies": [{ "cluster": "b", "runtime_fraction": { "default_value": { "numerator": fraction } } }] });
    let routes = json!([
        prefix("/prefix/", json!({ "prefix_rewrite": "/" })),
        prefix("/grow", json!({ "prefix_rewrite": "/grown/up" })),
        route(
            json!({ "path": "/whole" }),
            json!({ "prefix_rewrite": "/other" })
        ),
        route(
            json!({ "path_separated_prefix": "/sep" }),
            json!({ "prefix_rewrite": "/s" })
        ),
        prefix(
            "/regex",
            substitution("^/regex/([^/]+)/(.*)$", "/\\2/at/\\1")
        ),
        prefix("/every", substitution("e", "E")),
        prefix("/nomatch", substitution("zzz", "y")),
        prefix("/host", json!({ "host_rewrite_literal": "other.test" })),
        prefix(
            "/kept-host",
            json!({ "host_rewrite_literal": "other.test", "append_x_forwarded_host": true })
        ),
        prefix("/header-host", json!({ "host_rewrite_header": "x-host" })),
        prefix("/mirror", mirror(100)),
        prefix("/unmirrored", mirror(0)),
        prefix("/", json!({})),
    ]);
    let mut counted = any_host(json!([prefix("/", mirror(100))]));
    counted[0]["include_request_attempt_count"] = json!(true);
    Config {
        listeners: vec![
            http_listener(any_host(routes), json!({})),
            http_listener(counted, json!({})),
        ],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::get("prefix", "/prefix/a/b?c=d"),
        Case::get("prefix and nothing more", "/prefix/"),
        Case::get("prefix that grows", "/grow/x"),
        Case::get("whole path keeps its query", "/whole?x=1"),
        Case::get("separated prefix", "/sep/x"),
        Case::get("regex with groups", "/regex/first/second?q=1"),
        Case::get("regex everywhere", "/every/eve?e=e"),
        Case::get("regex that does not match", "/nomatch/x"),
        Case::get("host", "/host"),
        Case::get("host, the old one kept", "/kept-host"),
        Case::get("host from a header", "/header-host").header("x-host", "third.test"),
        Case::get("host from a header that is not there", "/header-host"),
        Case::get("mirror", "/mirror?x").seen(2),
        Case::get("mirror with the number of the attempt", "/")
            .on(1)
            .seen(2),
        Case::get("mirror of a POST", "/mirror")
            .method("POST")
            .body("twice")
            .seen(2),
        Case::get("mirror of no request", "/unmirrored").seen(1),
        Case::get("nothing", "/as/it/is?a=%20b&c"),
        Case::get("a path of strange characters", "/a;b=c/d,e/'(f)*!$&+=:@|^`"),
        Case::get("an OPTIONS of the server", "*").method("OPTIONS"),
    ]
}
