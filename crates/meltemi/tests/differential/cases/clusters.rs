//! Which endpoints of a cluster are used, and how they are spoken to.

use crate::bootstrap::{Config, any_host, cluster, clusters, http_listener, http2_upstream, typed};
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

/// A cluster of a (production, version 1), b (production, 2) and c (test).
fn divided(name: &str, upstreams: &Upstreams, subsets: Value) -> Value {
    let ports = ["a", "b", "c"].map(|name| upstreams.ports[name]);
    let metadata = [
        json!({ "stage": "prod", "version": "1" }),
        json!({ "stage": "prod", "version": "2" }),
        json!({ "stage": "test" }),
    ];
    let mut cluster = cluster(name, &ports, json!({ "lb_subset_config": subsets }));
    for (index, metadata) in metadata.into_iter().enumerate() {
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][index]["metadata"] =
            json!({ "filter_metadata": { "envoy.lb": metadata } });
    }
    cluster
}

/// Routes to `divided` clusters, by what they ask for.
fn subset_routes() -> Vec<Value> {
    let lb = |metadata: Value| json!({ "filter_metadata": { "envoy.lb": metadata } });
    let to = |path: &str, cluster: &str, metadata: Value| {
        json!({
            "match": { "path": path },
            "route": { "cluster": cluster, "metadata_match": lb(metadata) },
        })
    };
    let mut routes = vec![
        to("/one", "strict", json!({ "stage": "prod", "version": "2" })),
        to("/one-of-one", "strict", json!({ "stage": "test" })),
        to("/none", "strict", json!({ "stage": "nothing" })),
        to("/key", "strict", json!({ "version": "1" })),
        to("/default", "default", json!({ "stage": "nothing" })),
        to(
            "/fewer",
            "default",
            json!({ "stage": "test", "version": "9" }),
        ),
    ];
    routes.extend(["strict", "default"].map(|cluster| {
        json!({ "match": { "path": format!("/all-of-{cluster}") }, "route": { "cluster": cluster } })
    }));
    let part =
        json!({ "name": "strict", "weight": 1, "metadata_match": lb(json!({ "version": "1" })) });
    routes.push(json!({
        "match": { "path": "/weighted" },
        "route": {
            "weighted_clusters": { "clusters": [part] },
            "metadata_match": lb(json!({ "stage": "prod", "version": "2" })),
        },
    }));
    routes
}

/// A cluster whose service is told who the client is.
fn announced(name: &str, upstreams: &Upstreams, version: &str) -> Value {
    let raw = json!({
        "name": "envoy.transport_sockets.raw_buffer",
        "typed_config": typed("transport_sockets.raw_buffer.v3.RawBuffer", json!({})),
    });
    let fields = json!({ "config": { "version": version }, "transport_socket": raw });
    let socket = json!({
        "name": "envoy.transport_sockets.upstream_proxy_protocol",
        "typed_config": typed("transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport", fields),
    });
    cluster(
        name,
        &[upstreams.ports["announced"]],
        json!({ "transport_socket": socket }),
    )
}

/// Clusters of one endpoint whose second 500 in a row makes it an outlier.
fn ejecting(upstreams: &Upstreams) -> Vec<Value> {
    let cluster = |name: &str, more: Value| {
        let mut detection = json!({
            "consecutive_5xx": 2, "enforcing_success_rate": 0,
            "base_ejection_time": "60s", "interval": "60s",
        });
        let more = more.as_object().unwrap().clone();
        detection.as_object_mut().unwrap().extend(more);
        let never_panic = json!({ "healthy_panic_threshold": { "value": 0 } });
        let more = json!({ "outlier_detection": detection, "common_lb_config": never_panic });
        cluster(name, &[upstreams.ports["a"]], more)
    };
    vec![
        cluster("ejected", json!({ "max_ejection_percent": 100 })),
        cluster("most-are-ejected", json!({ "max_ejection_percent": 99 })),
        cluster(
            "one-is-ejected",
            json!({ "max_ejection_percent": 1, "always_eject_one_host": true }),
        ),
        cluster(
            "not-enforced",
            json!({ "max_ejection_percent": 100, "enforcing_consecutive_5xx": 0 }),
        ),
    ]
}

/// Clusters of three that balance by the hash of what the path's last word says.
fn hashed(upstreams: &Upstreams) -> Vec<(Value, Value)> {
    let ports = ["a", "b", "c"].map(|name| upstreams.ports[name]);
    let ring = |function: &str, minimum: u32| {
        json!({ "lb_policy": "RING_HASH",
            "ring_hash_lb_config": { "hash_function": function, "minimum_ring_size": minimum } })
    };
    let maglev = json!({ "lb_policy": "MAGLEV" });
    let bounded = json!({ "lb_policy": "MAGLEV", "maglev_lb_config": { "table_size": 101 },
        "common_lb_config": { "consistent_hashing_lb_config": { "hash_balance_factor": 150 } } });
    let header = json!({ "header": { "header_name": "x-key" } });
    let cookie = json!({ "cookie": { "name": "session" } });
    let query = json!({ "query_parameter": { "name": "key" } });
    let rewritten = json!({ "header": { "header_name": "x-key", "regex_rewrite": {
        "pattern": { "regex": "[0-9]+" }, "substitution": "" } } });
    let all = [
        ("ring", ring("XX_HASH", 1024), json!([header])),
        ("murmur-ring", ring("MURMUR_HASH_2", 64), json!([header])),
        ("maglev", maglev.clone(), json!([header])),
        ("bounded", bounded, json!([header])),
        ("by-cookie", maglev.clone(), json!([cookie])),
        ("by-query", maglev.clone(), json!([query, header])),
        ("by-rewritten", maglev, json!([rewritten])),
    ];
    let one = |(name, policy, hash_policy): &(&str, Value, Value)| {
        let route = json!({ "match": { "prefix": format!("/{name}/") },
            "route": { "cluster": name, "hash_policy": hash_policy } });
        (cluster(name, &ports, policy.clone()), route)
    };
    all.iter().map(one).collect()
}

/// Different keys, and the same ones again in other ways.
fn hashed_cases() -> Vec<Case> {
    let keys = ["one", "two", "three", "four", "five", "six"];
    let mut cases = Vec::new();
    let names: [(&str, [&'static str; 6]); 4] = [
        (
            "ring",
            [
                "ring: 1", "ring: 2", "ring: 3", "ring: 4", "ring: 5", "ring: 6",
            ],
        ),
        (
            "murmur-ring",
            [
                "murmur: 1",
                "murmur: 2",
                "murmur: 3",
                "murmur: 4",
                "murmur: 5",
                "murmur: 6",
            ],
        ),
        (
            "maglev",
            [
                "maglev: 1",
                "maglev: 2",
                "maglev: 3",
                "maglev: 4",
                "maglev: 5",
                "maglev: 6",
            ],
        ),
        (
            "bounded",
            [
                "bounded: 1",
                "bounded: 2",
                "bounded: 3",
                "bounded: 4",
                "bounded: 5",
                "bounded: 6",
            ],
        ),
    ];
    for (cluster, names) in names {
        for (name, key) in names.into_iter().zip(keys) {
            cases.push(Case::get(name, format!("/{cluster}/")).header("x-key", key));
        }
    }
    cases.extend([
        Case::get("a key of two values", "/maglev/")
            .header("x-key", "two")
            .header("x-key", "one"),
        Case::get("a key by a cookie", "/by-cookie/").header("cookie", "a=b; session=four"),
        Case::get("a key by a query parameter", "/by-query/?a=b&key=five"),
        Case::get("a key by two policies", "/by-query/?key=six").header("x-key", "one"),
        Case::get("an empty key", "/by-query/?key"),
        Case::get("a key that is rewritten", "/by-rewritten/").header("x-key", "th12ree3"),
        Case::get("two keys that are rewritten", "/by-rewritten/")
            .header("x-key", "9b")
            .header("x-key", "10a"),
    ]);
    cases
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
    let mut own = vec![
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
            "says-its-name",
            &[port("a")],
            http_check("", json!({ "receive": [{ "text": "61" }] })),
        ),
        checked(
            "says-another",
            &[port("a")],
            http_check("", json!({ "receive": [{ "text": "7a7a" }] })),
        ),
        checked(
            "is-told",
            &[port("a")],
            http_check(
                "",
                json!({ "method": "POST", "send": { "text": "70696e67" } }),
            ),
        ),
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
        announced("announced-1", upstreams, "V1"),
        announced("announced-2", upstreams, "V2"),
    ];
    own.extend(ejecting(upstreams));
    let names: Vec<String> = own
        .iter()
        .map(|cluster| cluster["name"].as_str().unwrap().to_owned())
        .collect();
    let route = |name: &String| json!({ "match": { "path": format!("/{name}") }, "route": { "cluster": name } });
    let mut routes: Vec<Value> = names.iter().map(route).collect();
    routes.extend(subset_routes());
    let (hashed, by_hash): (Vec<_>, Vec<_>) = hashed(upstreams).into_iter().unzip();
    routes.extend(by_hash);
    let mut all = clusters(&upstreams.ports);
    all.extend(own);
    all.extend(hashed);
    let selectors = json!([{ "keys": ["stage"] }, { "keys": ["version", "stage"] }]);
    all.push(divided(
        "strict",
        upstreams,
        json!({ "subset_selectors": selectors }),
    ));
    let fewer = json!({
        "keys": ["stage", "version"],
        "fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["stage"],
    });
    all.push(divided(
        "default",
        upstreams,
        json!({
            "fallback_policy": "DEFAULT_SUBSET", "default_subset": { "stage": "test" },
            "subset_selectors": [{ "keys": ["stage"] }, fewer],
        }),
    ));
    Config {
        listeners: vec![http_listener(any_host(json!(routes)), json!({}))],
        clusters: all,
        ..Config::default()
    }
}

fn cases() -> Vec<Case> {
    let mut cases = one_of_each();
    cases.extend(hashed_cases());
    for (names, path) in [
        (
            ["a first failure", "a second failure", "an outlier"],
            "/ejected",
        ),
        (
            [
                "a first failure of one",
                "a second failure of one",
                "more than are ejected",
            ],
            "/most-are-ejected",
        ),
        (
            [
                "a first failure of all",
                "a second failure of all",
                "one is always ejected",
            ],
            "/one-is-ejected",
        ),
        (
            [
                "a first failure seen",
                "a second failure seen",
                "an outlier that is only seen",
            ],
            "/not-enforced",
        ),
    ] {
        let [first, second, then] = names;
        cases.push(Case::get(first, path).ask("status=500"));
        cases.push(Case::get(second, path).ask("status=500"));
        cases.push(Case::get(then, path));
    }
    cases
}

fn one_of_each() -> Vec<Case> {
    vec![
        Case::get("the check passes", "/passing"),
        Case::get("the check fails", "/failing"),
        Case::get("the check passes with another status", "/expected"),
        Case::get("the check leaves one of two", "/one-of-two"),
        Case::get("the check gets no answer", "/no-answer"),
        Case::get("the check gets no HTTP", "/no-http"),
        Case::get("the check finds its content", "/says-its-name"),
        Case::get("the check finds another content", "/says-another"),
        Case::get("the check sends content", "/is-told"),
        Case::get("the check connects", "/tcp-connects"),
        Case::get("the check does not connect", "/tcp-refused"),
        Case::get("the check finds its answer", "/tcp-answers"),
        Case::get("the check finds another answer", "/tcp-other"),
        Case::get("the check by gRPC passes", "/grpc-serving"),
        Case::get("the check by gRPC fails", "/grpc-not-serving"),
        Case::get("the check by gRPC is not known", "/grpc-error"),
        Case::get("an endpoint that is not checked", "/disabled"),
        Case::get("an endpoint that is checked elsewhere", "/elsewhere"),
        Case::get("a client announced by a line", "/announced-1"),
        Case::get("a client announced in binary", "/announced-2"),
        Case::get("a subset by two keys", "/one"),
        Case::get("a subset by one key", "/one-of-one"),
        Case::get("a subset that there is not", "/none"),
        Case::get("a key that is not selected alone", "/key"),
        Case::get("no subset, no fallback", "/all-of-strict"),
        Case::get("the default subset", "/default"),
        Case::get("no subset, the default one", "/all-of-default"),
        Case::get("a subset by fewer keys", "/fewer"),
        Case::get("a weighted cluster's own subset", "/weighted"),
    ]
}
