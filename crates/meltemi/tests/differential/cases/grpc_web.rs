//! gRPC-Web to services of gRPC, and to others.

use crate::bootstrap::{
    Config, any_host, cluster, clusters, http_listener_with, http2_upstream, typed,
};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::json;

pub fn group() -> Group {
    Group {
        name: "grpc-web",
        config,
        cases,
    }
}

fn config(upstreams: &Upstreams) -> Config {
    let routes = json!([
        { "match": { "prefix": "/refused" }, "route": { "cluster": "refused-two" } },
        { "match": { "prefix": "/direct" }, "direct_response": { "status": 403, "body": { "inline_string": "no\n" } } },
        { "match": { "prefix": "/one" }, "route": { "cluster": "a" } },
        { "match": { "prefix": "/" }, "route": { "cluster": "two" } },
    ]);
    let web = json!([{
        "name": "envoy.filters.http.grpc_web",
        "typed_config": typed("filters.http.grpc_web.v3.GrpcWeb", json!({})),
    }]);
    let mut all = clusters(&upstreams.ports);
    all.push(cluster("two", &[upstreams.ports["h2"]], http2_upstream()));
    all.push(cluster(
        "refused-two",
        &[upstreams.ports["refused"]],
        http2_upstream(),
    ));
    Config {
        listeners: vec![http_listener_with(web, any_host(routes), json!({}))],
        clusters: all,
        ..Config::default()
    }
}

/// Whether the body is read before nobody wants it.
const RECEIVED: &[&str] = &["log.received"];
const TEXT: &str = "application/grpc-web-text";

fn web(name: &'static str, target: &str) -> Case {
    Case::get(name, target)
        .method("POST")
        .header("content-type", "application/grpc-web+proto")
        .body("\0\0\0\0\u{2}hi")
}

fn text(name: &'static str, target: &str) -> Case {
    Case::get(name, target)
        .method("POST")
        .header("content-type", TEXT)
        .header("accept", TEXT)
        .body("AAAAAAJoaQ==")
}

fn cases() -> Vec<Case> {
    vec![
        web("binary", "/hi"),
        web("binary by HTTP/2", "/hi").http2(),
        text("text", "/hi"),
        text("text by HTTP/2", "/hi").http2(),
        web("binary, answered in text", "/hi").header("accept", "application/grpc-web-text+proto"),
        web("a status that is no success", "/hi").header("x-grpc-status", "5"),
        text("a status that is no success, in text", "/hi").header("x-grpc-status", "5"),
        web("codings of its own", "/hi").header("grpc-accept-encoding", "gzip"),
        web("no service", "/refused").loose(RECEIVED),
        text("no service, in text", "/refused")
            .http2()
            .loose(RECEIVED),
        web("answered by the proxy", "/direct"),
        text("answered by the proxy, in text", "/direct"),
        web("HTTP without a body", "/one").ask("status=204"),
        Case::get("another type", "/hi")
            .method("POST")
            .header("content-type", "application/grpc-web+json")
            .body("{}"),
        Case::grpc("gRPC itself", "/hi"),
    ]
}
