//! Which endpoints of a cluster are used, and how they are spoken to.

use crate::bootstrap::{Config, any_host, cluster, clusters, http_listener, http2_upstream};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "clusters",
        config,
        cases,
    }
}

/// A cluster that is checked once, when it starts, and whose failures count.
fn checked(name: &str, ports: &[u16], checker: Value) -> Value {
    let mut check = json!({
        "timeout": "1s", "interval": "600s", "no_traffic_interval": "600s",
        "unhealthy_threshold": 1, "healthy_threshold": 1, "reuse_connection": false,
    });
    let checker = checker.as_object().unwrap().clone();
    check.as_object_mut().unwrap().extend(checker);
    let never_panic = json!({ "healthy_panic_threshold": { "value": 0 } });
    cluster(
        name,
        ports,
        json!({ "health_checks": [check], "common_lb_config": never_panic }),
    )
}

fn http_check(answer: &str, more: Value) -> Value {
    let mut check = json!({
        "path": "/healthz",
        "request_headers_to_add": [{ "header": { "key": "x-do", "value": answer } }],
    });
    check
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({ "http_health_check": check })
}

/// A cluster of gRPC, whose service answers checks as this header says.
fn grpc_checked(name: &str, ports: &[u16], header: &str, value: &str) -> Value {
    let metadata = json!([{ "header": { "key": header, "value": value } }]);
    let check = json!({ "service_name": "some.Service", "initial_metadata": metadata });
    let mut cluster = checked(name, ports, json!({ "grpc_health_check": check }));
    let http2 = http2_upstream().as_object().unwrap().clone();
    cluster.as_object_mut().unwrap().extend(http2);
    cluster
}

fn config(upstreams: &Upstreams) -> Config {
    let port = |name: &str| upstreams.ports[name];
    let tcp = |send: &str, receive: &str| {
        let check = json!({ "send": { "text": send }, "receive": [{ "text": receive }] });
        json!({ "tcp_health_check": check })
    };
    let expected = json!({ "expected_statuses": [{ "start": 200, "end": 300 }, { "start": 503, "end": 504 }] });
    let mut disabled = checked(
        "disabled",
        &[port("b")],
        http_check("status=500", json!({})),
    );
    let endpoint = &mut disabled["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    endpoint["health_check_config"] = json!({ "disable_active_health_check": true });
    let mut elsewhere = checked("elsewhere", &[port("b")], http_check("", json!({})));
    let endpoint = &mut elsewhere["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    endpoint["health_check_config"] = json!({ "port_value": port("refused") });
    let own = vec![
        checked("passing", &[port("a")], http_check("", json!({}))),
        checked("failing", &[port("a")], http_check("status=503", json!({}))),
        checked("expected", &[port("a")], http_check("status=503", expected)),
        checked(
            "one-of-two",
            &[port("refused"), port("b")],
            http_check("", json!({})),
        ),
        checked("no-answer", &[port("silent")], http_check("", json!({}))),
        checked("no-http", &[port("garbage")], http_check("", json!({}))),
        checked(
            "tcp-connects",
            &[port("a")],
            json!({ "tcp_health_check": {} }),
        ),
        checked(
            "tcp-refused",
            &[port("refused")],
            json!({ "tcp_health_check": {} }),
        ),
        // "ping" comes back behind other words.
        checked("tcp-answers", &[port("tcp")], tcp("70696e67", "70696e67")),
        checked("tcp-other", &[port("tcp")], tcp("70696e67", "706f6e67")),
        grpc_checked("grpc-serving", &[port("h2")], "x-serving", "1"),
        grpc_checked("grpc-not-serving", &[port("h2")], "x-serving", "2"),
        grpc_checked("grpc-error", &[port("h2")], "x-grpc-status", "5"),
        disabled,
        elsewhere,
    ];
    let names: Vec<String> = own
        .iter()
        .map(|cluster| cluster["name"].as_str().unwrap().to_owned())
        .collect();
    let route = |name: &String| json!({ "match": { "path": format!("/{name}") }, "route": { "cluster": name } });
    let routes: Vec<Value> = names.iter().map(route).collect();
    let mut all = clusters(&upstreams.ports);
    all.extend(own);
    Config {
        listeners: vec![http_listener(any_host(json!(routes)), json!({}))],
        clusters: all,
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::get("the check passes", "/passing"),
        Case::get("the check fails", "/failing"),
        Case::get("the check passes with another status", "/expected"),
        Case::get("the check leaves one of two", "/one-of-two"),
        Case::get("the check gets no answer", "/no-answer"),
        Case::get("the check gets no HTTP", "/no-http"),
        Case::get("the check connects", "/tcp-connects"),
        Case::get("the check does not connect", "/tcp-refused"),
        Case::get("the check finds its answer", "/tcp-answers"),
        Case::get("the check finds another answer", "/tcp-other"),
        Case::get("the check by gRPC passes", "/grpc-serving"),
        Case::get("the check by gRPC fails", "/grpc-not-serving"),
        Case::get("the check by gRPC is not known", "/grpc-error"),
        Case::get("an endpoint that is not checked", "/disabled"),
        Case::get("an endpoint that is checked elsewhere", "/elsewhere"),
    ]
}
