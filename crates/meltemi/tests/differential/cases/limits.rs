//! Local rate limits. A token takes an hour: what is left in a bucket depends on the cases before.

use crate::bootstrap::{Config, any_host, clusters, http_listener_with, typed};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "limits",
        config,
        cases,
    }
}

const KIND: &str = "filters.http.local_ratelimit.v3.LocalRateLimit";

fn bucket(tokens: u32) -> Value {
    json!({ "max_tokens": tokens, "tokens_per_fill": 1, "fill_interval": "3600s" })
}

fn limit(more: Value) -> Value {
    let all = json!({ "default_value": { "numerator": 100, "denominator": "HUNDRED" } });
    let mut fields = json!({
        "stat_prefix": "limits", "filter_enabled": all, "filter_enforced": all,
    });
    for (key, value) in more.as_object().expect("an object") {
        fields[key] = value.clone();
    }
    fields
}

fn filter(config: Value) -> Value {
    json!({ "name": "envoy.filters.http.local_ratelimit", "typed_config": config })
}

fn listener(config: Value, routes: Value) -> Value {
    http_listener_with(json!([filter(config)]), any_host(routes), json!({}))
}

/// As Istio's documentation writes it into an EnvoyFilter.
fn as_in_istio() -> Value {
    let all = |key: &str| json!({ "runtime_key": key, "default_value": { "numerator": 100, "denominator": "HUNDRED" } });
    json!({
        "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
        "type_url": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        "value": {
            "stat_prefix": "http_local_rate_limiter",
            "token_bucket": bucket(2),
            "filter_enabled": all("local_rate_limit_enabled"),
            "filter_enforced": all("local_rate_limit_enforced"),
            "response_headers_to_add": [
                { "append": false, "header": { "key": "x-local-rate-limit", "value": "true" } },
            ],
        },
    })
}

fn config(upstreams: &Upstreams) -> Config {
    let plain = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "a" } }]);
    Config {
        listeners: vec![
            listener(as_in_istio(), plain.clone()),
            by_descriptors(),
            by_route(),
            listener(
                typed(
                    KIND,
                    limit(json!({
                        "token_bucket": bucket(1),
                        "filter_enforced": { "default_value": { "numerator": 0 } },
                        "request_headers_to_add_when_not_enforced": [
                            { "header": { "key": "x-beyond", "value": "%REQ(:METHOD)%" } },
                        ],
                        "response_headers_to_add": [{ "header": { "key": "x-never", "value": "x" } }],
                        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
                    })),
                ),
                plain,
            ),
        ],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

fn by_descriptors() -> Value {
    let entry = |key: &str, value: &str| json!({ "key": key, "value": value });
    let limited =
        |entries: Value, tokens| json!({ "entries": entries, "token_bucket": bucket(tokens) });
    let fields = limit(json!({
        "token_bucket": bucket(50),
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "enable_retry_after_header": true,
        "rate_limited_as_resource_exhausted": true,
        "status": { "code": "ServiceUnavailable" },
        "response_headers_to_add": [
            { "header": { "key": "x-limited", "value": "%REQ(X-USER)%" }, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" },
        ],
        "descriptors": [
            limited(json!([entry("user", "ann")]), 3),
            limited(json!([entry("user", "bob"), entry("generic_key", "slow")]), 1),
            limited(json!([entry("header_match", "posts")]), 1),
            limited(json!([entry("destination_cluster", "b")]), 1),
            limited(json!([entry("masked_remote_address", "127.0.0.0/8")]), 1),
            limited(json!([entry("remote_address", "127.0.0.1")]), 1),
            limited(json!([entry("plan", "free")]), 1),
            limited(json!([entry("query_match", "dear")]), 1),
        ],
    }));
    let user = |skip: bool| json!({ "request_headers": { "header_name": "x-user", "descriptor_key": "user", "skip_if_absent": skip } });
    let slow = json!({ "generic_key": { "descriptor_value": "slow" } });
    let posts = json!({ "header_value_match": { "descriptor_value": "posts", "headers": [{ "name": ":method", "string_match": { "exact": "POST" } }] } });
    let dear = json!({ "query_parameter_value_match": { "descriptor_value": "dear", "expect_match": false, "query_parameters": [{ "name": "cheap", "present_match": true }] } });
    let plan =
        json!({ "query_parameters": { "query_parameter_name": "plan", "descriptor_key": "plan" } });
    let route = |prefix: &str, cluster: &str, actions: Value| json!({ "match": { "prefix": prefix }, "route": { "cluster": cluster, "rate_limits": actions } });
    let routes = json!([
        route("/slow", "a", json!([{ "actions": [user(false)] }, { "actions": [user(false), slow] }])),
        route("/skip", "a", json!([{ "actions": [slow, user(true)] }])),
        route("/posts", "a", json!([{ "actions": [posts] }])),
        route("/b", "b", json!([{ "actions": [{ "destination_cluster": {} }] }])),
        route("/masked", "a", json!([{ "actions": [{ "masked_remote_address": { "v4_prefix_mask_len": 8 } }] }])),
        route("/address", "a", json!([{ "actions": [{ "remote_address": {} }] }])),
        route("/plan", "a", json!([{ "actions": [plan] }])),
        route("/dear", "a", json!([{ "actions": [dear] }])),
        route("/stage", "a", json!([{ "stage": 3, "actions": [user(false)] }])),
        route("/key", "a", json!([{ "disable_key": "k", "actions": [user(false)] }])),
        { "match": { "prefix": "/direct" }, "direct_response": { "status": 200, "body": { "inline_string": "hello" } } },
        route("/", "a", json!([{ "actions": [user(false)] }])),
    ]);
    listener(typed(KIND, fields), routes)
}

fn by_route() -> Value {
    let own =
        |more: Value| json!({ "envoy.filters.http.local_ratelimit": typed(KIND, limit(more)) });
    let key =
        |value: &str| json!([{ "actions": [{ "generic_key": { "descriptor_value": value } }] }]);
    let entry = |value: &str| json!({ "entries": [{ "key": "generic_key", "value": value }], "token_bucket": bucket(1) });
    let with = |option: &str| {
        own(json!({
            "token_bucket": bucket(50),
            "always_consume_default_token_bucket": false,
            "vh_rate_limits": option,
            "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
            "descriptors": [entry("host"), entry("route")],
        }))
    };
    let route = |prefix: &str, action: Value, said: Value| json!({ "match": { "prefix": prefix }, "route": action, "typed_per_filter_config": said });
    let plain = json!({ "cluster": "a" });
    let limited = json!({ "cluster": "a", "rate_limits": key("other") });
    let embedded = own(json!({
        "token_bucket": bucket(50), "rate_limits": key("route"),
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "descriptors": [entry("host"), entry("route")],
    }));
    let routes = json!([
        route("/one", plain.clone(), own(json!({ "token_bucket": bucket(1) }))),
        route("/override", plain.clone(), with("OVERRIDE")),
        route("/overridden", limited.clone(), with("OVERRIDE")),
        route("/include", limited.clone(), with("INCLUDE")),
        route("/ignore", plain.clone(), with("IGNORE")),
        route("/embedded", plain.clone(), embedded),
        { "match": { "prefix": "/" }, "route": plain },
    ]);
    let mut hosts = any_host(routes);
    hosts[0]["rate_limits"] = key("host");
    let none = json!([filter(typed(KIND, json!({ "stat_prefix": "none" })))]);
    http_listener_with(none, hosts, json!({}))
}

/// Time goes on between the two proxies' cases.
const SECONDS: &[&str] = &["answer.header.x-ratelimit-reset"];

fn cases() -> Vec<Case> {
    let get = |name: &'static str, path: &str, user: &str| {
        let case = Case::get(name, path).header("x-user", user);
        case.on(1).loose(SECONDS)
    };
    let route = |name: &'static str, path: &str| Case::get(name, path).on(2);
    vec![
        Case::get("as in Istio's example: the first", "/"),
        Case::get("as in Istio's example: the second", "/"),
        Case::get("as in Istio's example: the third", "/"),
        Case::grpc("as in Istio's example: a call", "/svc/Method"),
        get("of a user", "/", "ann"),
        get("of a user and a route: another user", "/slow", "ann"),
        get("of a user: the last", "/", "ann"),
        get("of a user: beyond", "/", "ann"),
        get("of a user and a route", "/slow", "bob"),
        get("of a user and a route: beyond", "/slow", "bob"),
        get("of a user: another user", "/", "bob"),
        Case::get("without what the descriptor needs", "/slow").on(1),
        Case::get("without what an entry needs", "/skip").on(1),
        Case::get("posts", "/posts").method("POST").body("x").on(1),
        Case::get("posts: beyond", "/posts")
            .method("POST")
            .body("x")
            .on(1),
        get("posts: a get", "/posts", "x"),
        get("of a cluster", "/b", "x"),
        get("of a cluster: beyond", "/b", "x"),
        get("of a prefix", "/masked", "x"),
        get("of a prefix: beyond", "/masked", "x"),
        get("of an address", "/address", "x"),
        get("of an address: beyond", "/address", "x"),
        get("of a parameter", "/plan?plan=free", "x"),
        get("of a parameter: beyond", "/plan?plan=free", "x"),
        get("of a parameter: another", "/plan?plan=paid", "x"),
        get("of a missing parameter", "/dear", "x"),
        get("of a missing parameter: beyond", "/dear", "x"),
        get("of a missing parameter: it is there", "/dear?cheap", "x"),
        get("another stage", "/stage", "ann"),
        get("a runtime key", "/key", "ann"),
        get("a direct response", "/direct", "ann"),
        Case::grpc("a call beyond", "/address").on(1).loose(SECONDS),
        route("a chain without limits", "/"),
        route("of a route", "/one"),
        route("of a route: beyond", "/one"),
        route("the virtual host's", "/override"),
        route("the virtual host's: beyond", "/override").loose(SECONDS),
        route("the route's over the virtual host's", "/overridden"),
        route("the virtual host's too", "/include"),
        route("the virtual host's too: beyond", "/include").loose(SECONDS),
        route("not the virtual host's", "/ignore"),
        route("not the virtual host's: again", "/ignore"),
        route("the filter's own", "/embedded"),
        route("the filter's own: beyond", "/embedded").loose(SECONDS),
        Case::get("not enforced", "/").on(3),
        Case::get("not enforced: beyond", "/").on(3).loose(SECONDS),
    ]
}
