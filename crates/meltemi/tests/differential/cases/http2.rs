//! HTTP/2 from clients and to services, gRPC, and HTTP/1.1 between them.

use crate::bootstrap::{Config, any_host, cluster, clusters, http_listener, http2_upstream};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::json;

pub fn group() -> Group {
    Group {
        name: "http2",
        config,
        cases,
    }
}

fn config(upstreams: &Upstreams) -> Config {
    let routes = json!([
        { "match": { "prefix": "/h2" }, "route": { "cluster": "two" } },
        { "match": { "prefix": "/refused" }, "route": { "cluster": "refused" } },
        { "match": { "prefix": "/no-two" }, "route": { "cluster": "refused-two" } },
        { "match": { "prefix": "/not-there" }, "route": { "cluster": "not-there" } },
        { "match": { "prefix": "/timeout" }, "route": { "cluster": "a", "timeout": "0.2s" } },
        { "match": { "prefix": "/direct" }, "direct_response": { "status": 403, "body": { "inline_string": "no\n" } } },
        { "match": { "prefix": "/retried" }, "route": { "cluster": "two", "retry_policy": { "retry_on": "unavailable", "num_retries": 1 } } },
        { "match": { "prefix": "/one" }, "route": { "cluster": "a" } },
    ]);
    let mut all = clusters(&upstreams.ports);
    all.push(cluster("two", &[upstreams.ports["h2"]], http2_upstream()));
    all.push(cluster(
        "refused-two",
        &[upstreams.ports["refused"]],
        http2_upstream(),
    ));
    Config {
        listeners: vec![http_listener(any_host(routes), json!({}))],
        clusters: all,
        ..Config::default()
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::get("to HTTP/1.1", "/one?x").http2(),
        Case::get("to HTTP/2", "/h2?x").http2(),
        Case::get("POST to HTTP/1.1", "/one")
            .method("POST")
            .body("body")
            .http2(),
        Case::get("POST to HTTP/2", "/h2")
            .method("POST")
            .body("body")
            .http2(),
        Case::get("HTTP/1.1 to HTTP/2", "/h2").header("x-a", "1"),
        Case::get("HTTP/1.1 to HTTP/2 with hop by hop headers", "/h2")
            .header("connection", "x-named")
            .header("x-named", "1")
            .header("keep-alive", "1"),
        Case::get("chunked answer of HTTP/1.1", "/one")
            .ask("chunked")
            .http2(),
        Case::get("HEAD", "/one").method("HEAD").http2(),
        Case::get("cookies", "/one")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .http2(),
        Case::get("PATCH without a body", "/one")
            .method("PATCH")
            .http2(),
        Case::get("DELETE without a body", "/one")
            .method("DELETE")
            .http2(),
        Case::get("no route", "/nowhere").http2(),
        Case::get("direct", "/direct").http2(),
        Case::get("no answer in time", "/timeout")
            .ask("delay=1000")
            .http2(),
        Case::get("connection close of the service", "/one")
            .ask("connection=close")
            .http2(),
        Case::get("broken off within the body", "/one")
            .ask("partial")
            .http2(),
        Case::grpc("gRPC", "/h2/Service/Method"),
        Case::grpc("gRPC with an error", "/h2/Service/Method").header("x-grpc-status", "5"),
        Case::grpc("gRPC retried", "/retried/Service/Method").header("x-grpc-status", "14"),
        Case::grpc("gRPC without a route", "/nowhere"),
        Case::grpc("gRPC refused", "/no-two").loose(&["log.received"]),
        Case::grpc("gRPC to no cluster", "/not-there"),
        Case::grpc("gRPC to a direct response", "/direct"),
        Case::grpc("gRPC in time", "/timeout").ask("delay=1000"),
        Case::grpc("gRPC with its own timeout", "/one")
            .header("grpc-timeout", "100m")
            .ask("delay=300"),
        Case::grpc("gRPC to a service without it", "/one"),
        Case::grpc("gRPC to a service that answers 503", "/one").ask("status=503"),
    ]
}
