//! Answers that the proxy makes itself: redirects and direct responses.

use crate::bootstrap::{Config, any_host, clusters, http_listener};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "local",
        config,
        cases,
    }
}

fn redirect(prefix: &str, action: Value) -> Value {
    json!({ "match": { "prefix": prefix }, "redirect": action })
}

fn direct(prefix: &str, status: u16, body: &str) -> Value {
    let mut action = json!({ "status": status });
    if !body.is_empty() {
        action["body"] = json!({ "inline_string": body });
    }
    json!({ "match": { "prefix": prefix }, "direct_response": action })
}

fn config(upstreams: &Upstreams) -> Config {
    let mut added = direct("/direct/added", 200, "with a header");
    added["response_headers_to_add"] = json!([
        { "header": { "key": "x-added", "value": "yes" } },
        { "header": { "key": "content-type", "value": "text/html" }, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" },
    ]);
    let routes = json!([
        redirect("/r/path", json!({ "path_redirect": "/new" })),
        redirect("/r/query", json!({ "path_redirect": "/new?own=1" })),
        redirect(
            "/r/strip",
            json!({ "path_redirect": "/new", "strip_query": true })
        ),
        redirect("/r/host", json!({ "host_redirect": "other.test" })),
        redirect("/r/https", json!({ "https_redirect": true })),
        redirect("/r/scheme", json!({ "scheme_redirect": "https" })),
        redirect("/r/port", json!({ "port_redirect": 8443 })),
        redirect(
            "/r/default-port",
            json!({ "scheme_redirect": "https", "port_redirect": 443 })
        ),
        redirect(
            "/r/all",
            json!({ "scheme_redirect": "https", "host_redirect": "other.test", "port_redirect": 1, "path_redirect": "/x", "response_code": "PERMANENT_REDIRECT" })
        ),
        redirect(
            "/r/prefix",
            json!({ "prefix_rewrite": "/p", "response_code": "FOUND" })
        ),
        redirect(
            "/r/regex",
            json!({ "regex_rewrite": { "pattern": { "regex": "^/r/regex/(.*)$" }, "substitution": "/got/\\1" }, "response_code": "SEE_OTHER" })
        ),
        redirect(
            "/r/307",
            json!({ "path_redirect": "/t", "response_code": "TEMPORARY_REDIRECT" })
        ),
        added,
        direct("/direct/created", 201, ""),
        direct("/direct/elsewhere", 307, "over there"),
        direct("/direct/empty", 200, ""),
        direct("/direct/teapot", 418, "short and stout\n"),
        direct("/direct/none", 204, ""),
        direct("/direct/error", 503, "gone fishing"),
    ]);
    let strict_host = json!([{ "name": "tls", "domains": ["*"], "require_tls": "ALL", "routes": [direct("/", 200, "never")] }]);
    Config {
        listeners: vec![
            http_listener(any_host(routes), json!({})),
            http_listener(strict_host, json!({})),
        ],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::get("redirect of the path", "/r/path/gone?q=1"),
        Case::get("redirect with a query of its own", "/r/query?q=1"),
        Case::get("redirect that strips the query", "/r/strip?q=1"),
        Case::get("redirect of the host", "/r/host/x?q=1"),
        Case::get("redirect of the host with a port", "/r/host").host("app.test:8080"),
        Case::get("redirect to https", "/r/https/x"),
        Case::get("redirect to https with port 80", "/r/https").host("app.test:80"),
        Case::get("redirect to https with another port", "/r/https").host("app.test:8080"),
        Case::get("redirect of the scheme", "/r/scheme"),
        Case::get("redirect of the port", "/r/port").host("app.test:99"),
        Case::get("redirect to a default port", "/r/default-port"),
        Case::get("redirect of everything", "/r/all"),
        Case::get("redirect of the prefix", "/r/prefix/rest?q=1"),
        Case::get("redirect by regex", "/r/regex/this?q=1"),
        Case::get("redirect 307", "/r/307"),
        Case::get("redirect of a POST with a body", "/r/307")
            .method("POST")
            .body("unread"),
        Case::get("redirect of a HEAD", "/r/path").method("HEAD"),
        Case::get("redirect of a host of version 6", "/r/port").host("[::1]:8080"),
        Case::get("direct: created", "/direct/created?x"),
        Case::get("direct: elsewhere", "/direct/elsewhere"),
        Case::get("direct without a body", "/direct/empty"),
        Case::get("direct with a body", "/direct/teapot"),
        Case::get("direct of a HEAD", "/direct/teapot").method("HEAD"),
        Case::get("direct of a POST", "/direct/teapot")
            .method("POST")
            .body("unread"),
        Case::get("direct 204", "/direct/none"),
        Case::get("direct 503", "/direct/error"),
        Case::get("direct with headers", "/direct/added"),
        Case::get("a host that wants TLS", "/x?y").on(1),
    ]
}
