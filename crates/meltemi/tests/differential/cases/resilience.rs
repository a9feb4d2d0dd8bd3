//! Services that fail, and what is done about it: timeouts, retries, limits.

use crate::bootstrap::{Config, any_host, cluster, clusters, http_listener};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "resilience",
        config,
        cases,
    }
}

fn to(prefix: &str, cluster: &str, action: Value) -> Value {
    let mut route = json!({ "cluster": cluster });
    route
        .as_object_mut()
        .unwrap()
        .extend(action.as_object().unwrap().clone());
    json!({ "match": { "prefix": prefix }, "route": route })
}

fn retries(on: &str, count: u32, more: Value) -> Value {
    let mut policy = json!({
        "retry_on": on,
        "num_retries": count,
        "retry_back_off": { "base_interval": "0.002s", "max_interval": "0.004s" },
    });
    policy
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({ "retry_policy": policy })
}

fn config(upstreams: &Upstreams) -> Config {
    let per_try = json!({ "per_try_timeout": "0.15s" });
    let routes = json!([
        to(
            "/refused-retried",
            "refused",
            retries("connect-failure", 2, json!({}))
        ),
        to("/refused", "refused", json!({})),
        to("/closed", "closed", json!({})),
        to("/garbage", "garbage", json!({})),
        to("/timeout", "a", json!({ "timeout": "0.2s" })),
        to("/forever", "a", json!({ "timeout": "0s" })),
        to("/retry/5xx", "a", retries("5xx", 2, json!({}))),
        to(
            "/retry/gateway",
            "a",
            retries("gateway-error", 1, json!({}))
        ),
        to(
            "/retry/status",
            "a",
            retries(
                "retriable-status-codes",
                1,
                json!({ "retriable_status_codes": [409, 503] })
            )
        ),
        to("/retry/4xx", "a", retries("retriable-4xx", 1, json!({}))),
        to("/retry/none", "a", json!({})),
        to("/retry/reset", "a", retries("reset", 1, json!({}))),
        to(
            "/retry/before",
            "a",
            retries("reset-before-request", 1, json!({}))
        ),
        to(
            "/retry/header",
            "a",
            retries(
                "retriable-headers",
                1,
                json!({ "retriable_headers": [{ "name": "retry-after", "present_match": true }] })
            )
        ),
        to("/retry/per-try", "a", retries("5xx", 1, per_try.clone())),
        to(
            "/retry/no-match-per-try",
            "a",
            retries("connect-failure", 1, per_try)
        ),
        to(
            "/retry/other-host",
            "two",
            retries(
                "connect-failure",
                4,
                json!({
                    "retry_host_predicate": [{ "name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate" } }],
                    "host_selection_retry_max_attempts": "10",
                })
            )
        ),
        to("/attempts", "a", retries("5xx", 1, json!({}))),
        to("/no-room", "full", json!({})),
        to("/", "a", json!({})),
    ]);
    let mut hosts = any_host(routes);
    hosts[0]["include_request_attempt_count"] = json!(true);
    hosts[0]["include_attempt_count_in_response"] = json!(true);
    let mut all = clusters(&upstreams.ports);
    let limits = json!({ "circuit_breakers": { "thresholds": [{ "max_requests": 0 }] } });
    all.push(cluster("full", &[upstreams.ports["a"]], limits));
    all.push(cluster(
        "two",
        &[upstreams.ports["refused"], upstreams.ports["b"]],
        json!({}),
    ));
    Config {
        listeners: vec![http_listener(hosts, json!({}))],
        clusters: all,
        ..Config::default()
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::get("connection refused", "/refused"),
        Case::get("connection refused, retried", "/refused-retried"),
        Case::get("closed before the answer", "/closed"),
        Case::get("no HTTP in the answer", "/garbage"),
        Case::get("closed by the service", "/x").ask("close"),
        Case::get("reset by the service", "/x").ask("reset"),
        Case::get("broken off within the body", "/x").ask("partial"),
        Case::get("timeout", "/timeout").ask("delay=1000"),
        Case::get("timeout of a POST", "/timeout")
            .method("POST")
            .body("body")
            .ask("delay=1000"),
        Case::get("no timeout", "/forever").ask("delay=300"),
        Case::get("timeout of the client's header", "/x")
            .header("x-envoy-upstream-rq-timeout-ms", "100")
            .ask("delay=1000"),
        Case::get("a retry helps", "/retry/5xx").ask("fail-first=1"),
        Case::get("the second retry helps", "/retry/5xx").ask("fail-first=2"),
        Case::get("retries are used up", "/retry/5xx").ask("fail-first=9"),
        Case::get("a POST is sent again", "/retry/5xx")
            .method("POST")
            .body("again")
            .ask("fail-first=1"),
        Case::get("500 is retried", "/retry/5xx").ask("status=500"),
        Case::get("500 is no gateway error", "/retry/gateway").ask("status=500"),
        Case::get("502 is a gateway error", "/retry/gateway").ask("status=502"),
        Case::get("status that is listed", "/retry/status").ask("status=409"),
        Case::get("status that is not listed", "/retry/status").ask("status=500"),
        Case::get("409 is a retriable 4xx", "/retry/4xx").ask("status=409"),
        Case::get("404 is no retriable 4xx", "/retry/4xx").ask("status=404"),
        Case::get("no retries", "/retry/none").ask("fail-first=1"),
        Case::get("retry after a close", "/retry/reset").ask("close"),
        Case::get("retry after a reset", "/retry/reset").ask("reset"),
        Case::get("no retry after the request was sent", "/retry/before").ask("close"),
        Case::get("retry by a header", "/retry/header").ask("retry-after=1"),
        Case::get("every try has its time", "/retry/per-try").ask("delay=1000"),
        Case::get("a try's time without a retry", "/retry/no-match-per-try").ask("delay=1000"),
        Case::get("retry on another host", "/retry/other-host").loose(&[
            // The first host is chosen by chance.
            "answer.header.x-envoy-attempt-count",
            "seen.header.x-envoy-expected-rq-timeout-ms",
            "log.failure",
            "log.attempts",
            "seen.header.x-envoy-attempt-count",
        ]),
        Case::get("retry policy in headers", "/retry/none")
            .header("x-envoy-retry-on", "5xx")
            .header("x-envoy-max-retries", "1")
            .ask("fail-first=1"),
        Case::get("attempts are counted", "/attempts").ask("fail-first=1"),
        Case::get("a limit of no requests", "/no-room"),
        Case::get("a slow answer is no failure", "/x").ask("delay=200"),
        Case::get("a 500 of the service is passed on", "/x").ask("status=500"),
        Case::get("a 599 of the service is passed on", "/x").ask("status=599"),
        Case::get("a large header of the service", "/x").ask("big-header=30000"),
        Case::get("a header near the limit", "/x").ask("big-header=80000"),
        Case::get("a header beyond the limit", "/x").ask("big-header=90000"),
    ]
}
