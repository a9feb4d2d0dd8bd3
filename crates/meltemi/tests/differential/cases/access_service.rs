//! What an access log service is told of requests and connections.

use crate::bootstrap::{Config, any_host, cluster, clusters, http_listener, http2_upstream, typed};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "access_service",
        config,
        cases,
    }
}

/// Operators that other groups' logs do not have.
const FORMATS: &str = "%QUERY_PARAM(y)%|%QUERY_PARAMS%|%PATH(NQ)%|%PATH(WQ:ORIG)%|%PATH(WQ:PATH)%|%UPSTREAM_PROTOCOL%|\
%GRPC_STATUS%|%ACCESS_LOG_TYPE%|%REQUEST_HEADERS_BYTES%|%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%|\
%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%|%START_TIME(%Y)%|%CUSTOM_FLAGS%";

fn logger(kind: &str, mut config: Value) -> Value {
    config["common_config"] = json!({
        "log_name": "the-log",
        "transport_api_version": "V3",
        // Each entry by itself.
        "buffer_size_bytes": 0,
        "grpc_service": { "envoy_grpc": { "cluster_name": "service" } },
        "custom_tags": [
            { "tag": "literal", "literal": { "value": "one" } },
            { "tag": "formats", "value": FORMATS },
            { "tag": "header", "request_header": { "name": "x-user", "default_value": "nobody" } },
        ],
    });
    json!({ "name": "service", "typed_config": typed(&format!("access_loggers.grpc.v3.{kind}"), config) })
}

fn config(upstreams: &Upstreams) -> Config {
    let routes = json!([
        { "match": { "prefix": "/local" }, "direct_response": { "status": 200, "body": { "inline_string": "hi" } }, "name": "local" },
        { "match": { "prefix": "/refused" }, "route": { "cluster": "refused" } },
        { "match": { "prefix": "/rewritten" }, "route": { "cluster": "a", "prefix_rewrite": "/new" }, "name": "rewritten" },
        { "match": { "prefix": "/" }, "route": { "cluster": "a" } },
    ]);
    let requests = logger(
        "HttpGrpcAccessLogConfig",
        json!({
            "additional_request_headers_to_log": ["x-user", "x-absent"],
            "additional_response_headers_to_log": ["x-multi", "server"],
        }),
    );
    let http = http_listener(any_host(routes), json!({ "access_log": [requests] }));
    let connections = logger("TcpGrpcAccessLogConfig", json!({}));
    let tcp = typed(
        "filters.network.tcp_proxy.v3.TcpProxy",
        json!({ "stat_prefix": "tcp", "cluster": "tcp", "access_log": [connections] }),
    );
    let tcp = json!({ "filter_chains": [{ "filters": [{ "name": "tcp", "typed_config": tcp }] }] });
    let mut all = clusters(&upstreams.ports);
    all.push(cluster(
        "service",
        &[upstreams.ports["als"]],
        http2_upstream(),
    ));
    Config {
        listeners: vec![http, tcp],
        clusters: all,
        ..Config::default()
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::get("a request", "/x?y=1")
            .header("x-user", "me")
            .header("user-agent", "the-agent")
            .header("referer", "http://r.test/")
            .seen(2),
        Case::get("a body", "/x")
            .method("POST")
            .body("content")
            .seen(2),
        Case::get("an answer with headers", "/")
            .ask("status=404")
            .seen(2),
        Case::get("a path that is rewritten", "/rewritten/x").seen(2),
        Case::get("an answer of the proxy's own", "/local").seen(1),
        Case::get("no upstream", "/refused").seen(1),
        Case::get("by HTTP/2", "/x").http2().seen(2),
        Case::opaque("a connection", "hello").on(1).seen(1),
    ]
}
