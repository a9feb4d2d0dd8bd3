//! Filters that change headers and hold bodies back.

use crate::bootstrap::{Config, cluster, clusters, http_listener_with, http2_upstream, typed};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "mutation",
        config,
        cases,
    }
}

const MUTATION: &str = "filters.http.header_mutation.v3.HeaderMutation";
const OF_ROUTE: &str = "filters.http.header_mutation.v3.HeaderMutationPerRoute";

fn put(name: &str, value: &str, action: &str) -> Value {
    json!({ "append": { "header": { "key": name, "value": value }, "append_action": action } })
}

fn both(steps: Value) -> Value {
    json!({ "mutations": { "request_mutations": steps, "response_mutations": steps } })
}

fn filter(name: &str, config: Value) -> Value {
    json!({ "name": name, "typed_config": config })
}

fn config(upstreams: &Upstreams) -> Config {
    let mut all = clusters(&upstreams.ports);
    all.push(cluster("two", &[upstreams.ports["h2"]], http2_upstream()));
    Config {
        listeners: vec![
            steps(),
            levels(false),
            levels(true),
            buffer(),
            late(false),
            late(true),
        ],
        clusters: all,
        ..Config::default()
    }
}

fn steps() -> Value {
    let request = json!([
        put("x-first", "1", "APPEND_IF_EXISTS_OR_ADD"),
        put("x-first", "2", "APPEND_IF_EXISTS_OR_ADD"),
        put("x-one", "new", "OVERWRITE_IF_EXISTS"),
        put("x-two", "new", "OVERWRITE_IF_EXISTS_OR_ADD"),
        put("x-three", "new", "ADD_IF_ABSENT"),
        put("x-path", "%REQ(:PATH)% by %PROTOCOL%", "OVERWRITE_IF_EXISTS_OR_ADD"),
        put("x-gone", "for a moment", "OVERWRITE_IF_EXISTS_OR_ADD"),
        { "remove": "x-gone" },
        { "remove_on_match": { "key_matcher": { "prefix": "x-secret" } } },
    ]);
    let response = json!([
        put("x-code", "%RESPONSE_CODE%", "OVERWRITE_IF_EXISTS_OR_ADD"),
        put("x-asked", "%REQ(:METHOD)%", "OVERWRITE_IF_EXISTS_OR_ADD"),
        { "remove": "x-envoy-upstream-service-time" },
    ]);
    let own =
        json!({ "mutations": { "request_mutations": request, "response_mutations": response } });
    let abort = json!({ "http_status": 503, "percentage": { "numerator": 100 } });
    let only = json!([{ "name": "x-fault", "present_match": true }]);
    let fault = typed(
        "filters.http.fault.v3.HTTPFault",
        json!({ "abort": abort, "headers": only }),
    );
    let filters = json!([filter("fault", fault), filter("m", typed(MUTATION, own))]);
    let hosts = json!([{ "name": "any", "domains": ["*"], "routes": [
        { "match": { "prefix": "/direct" }, "direct_response": { "status": 200, "body": { "inline_string": "x" } } },
        { "match": { "prefix": "/there" }, "route": { "cluster": "a" } },
    ] }]);
    http_listener_with(filters, hosts, json!({}))
}

fn levels(most_specific_wins: bool) -> Value {
    let level = |name: &str| both(json!([put("x-level", name, "APPEND_IF_EXISTS_OR_ADD")]));
    let said = |name: &str| json!({ "m": typed(OF_ROUTE, level(name)) });
    let mut own = level("chain");
    own["most_specific_header_mutations_wins"] = json!(most_specific_wins);
    let routes = json!([
        { "match": { "prefix": "/route" }, "route": { "cluster": "a" }, "typed_per_filter_config": said("route") },
        { "match": { "prefix": "/split" }, "typed_per_filter_config": said("route"),
            "route": { "weighted_clusters": { "clusters": [{ "name": "a", "weight": 1, "typed_per_filter_config": said("cluster") }] } } },
        { "match": { "prefix": "/" }, "route": { "cluster": "a" } },
    ]);
    let hosts = json!([{ "name": "any", "domains": ["*"], "routes": routes, "typed_per_filter_config": said("host") }]);
    let filters = json!([filter("m", typed(MUTATION, own))]);
    http_listener_with(filters, hosts, json!({}))
}

/// Parameters of queries, and trailers of answers.
fn late(levels: bool) -> Value {
    let parameter = |name: &str, value: &str, action: &str| json!({ "append": { "record": { "key": name, "value": value }, "action": action } });
    // Envoy sorts parameters by their names, and decodes what levels before have escaped.
    let odd = if levels { "plain" } else { "n w&%%=/~" };
    let query = json!([
        { "remove": "gone" },
        parameter("one", "new", "OVERWRITE_IF_EXISTS"),
        parameter("y", "%REQ(X-SET)%", "OVERWRITE_IF_EXISTS_OR_ADD"),
        parameter("z", "z", "ADD_IF_ABSENT"),
        parameter("zz", odd, "APPEND_IF_EXISTS_OR_ADD"),
    ]);
    let trailers = json!([
        put("x-trailer", "%REQ(:METHOD)% %RESPONSE_CODE%", "OVERWRITE_IF_EXISTS_OR_ADD"),
        put("x-told", "%RESP(X-UPSTREAM)%", "OVERWRITE_IF_EXISTS_OR_ADD"),
        { "remove": "x-gone" },
    ]);
    let own = json!({ "mutations": {
        "request_mutations": [put("x-set", "set", "OVERWRITE_IF_EXISTS_OR_ADD")],
        "query_parameter_mutations": query,
        "response_trailers_mutations": trailers,
    } });
    let more = match levels {
        false => json!({}),
        true => json!({ "mutations": {
            "query_parameter_mutations": [parameter("zzz", "route", "APPEND_IF_EXISTS_OR_ADD")],
            "response_trailers_mutations": [put("x-trailer", "route", "APPEND_IF_EXISTS_OR_ADD")],
        } }),
    };
    let said = json!({ "m": typed(OF_ROUTE, more) });
    let hosts = json!([{ "name": "any", "domains": ["*"], "routes": [
        { "match": { "prefix": "/two" }, "route": { "cluster": "two" }, "typed_per_filter_config": said },
        { "match": { "prefix": "/" }, "route": { "cluster": "a" }, "typed_per_filter_config": said },
    ] }]);
    http_listener_with(json!([filter("m", typed(MUTATION, own))]), hosts, json!({}))
}

fn buffer() -> Value {
    let bytes = |bytes: u32| json!({ "max_request_bytes": bytes });
    let own = |fields| json!({ "b": typed("filters.http.buffer.v3.BufferPerRoute", fields) });
    let routes = json!([
        { "match": { "prefix": "/wide" }, "route": { "cluster": "a" }, "typed_per_filter_config": own(json!({ "buffer": bytes(1000) })) },
        { "match": { "prefix": "/off" }, "route": { "cluster": "a" }, "typed_per_filter_config": own(json!({ "disabled": true })) },
        { "match": { "prefix": "/" }, "route": { "cluster": "a" } },
    ]);
    let hosts = json!([{ "name": "any", "domains": ["*"], "routes": routes }]);
    let own = typed("filters.http.buffer.v3.Buffer", bytes(10));
    http_listener_with(json!([filter("b", own)]), hosts, json!({}))
}

fn cases() -> Vec<Case> {
    let post = |name: &'static str, path: &str, body: &str| {
        Case::get(name, path).method("POST").body(body).on(3)
    };
    let chunked = |name: &'static str, path: &str, body: &str| {
        let length = body.len();
        let text = format!(
            "POST {path} HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
        );
        Case::raw(name, text).on(3)
    };
    let long = "more than ten bytes";
    vec![
        Case::get("steps", "/there")
            .header("x-one", "old")
            .header("x-two", "old")
            .header("x-three", "old")
            .header("x-secret-a", "a")
            .header("x-secret-b", "b"),
        Case::get("steps without the headers", "/there?x=y"),
        Case::get("steps of a direct response", "/direct"),
        Case::get("steps without a route", "/nowhere"),
        Case::get("steps of an answer before them", "/there").header("x-fault", "1"),
        Case::get("levels: host", "/").on(1),
        Case::get("levels: route", "/route").on(1),
        Case::get("levels: weighted cluster", "/split").on(1),
        Case::get("most specific last: host", "/").on(2),
        Case::get("most specific last: route", "/route").on(2),
        Case::get("most specific last: weighted cluster", "/split").on(2),
        Case::get("buffer: no body", "/").on(3),
        post("buffer: short", "/", "short"),
        post("buffer: as long as allowed", "/", "ten bytes!"),
        post("buffer: long", "/", long),
        chunked("buffer: chunked", "/", "short"),
        chunked("buffer: long chunks", "/", long),
        post("buffer: HTTP/2", "/", "short").http2(),
        Case::get("parameters: none", "/p").on(4),
        Case::get("parameters: others", "/p?a=1&b=2").on(4),
        Case::get("parameters: all", "/p?gone=1&one=1&one=2&y=q&z=1&zz=1").on(4),
        Case::get("parameters: of a route", "/p").on(5),
        Case::grpc("trailers", "/two").on(4),
        Case::grpc("trailers: of a route", "/two").on(5),
        post("buffer: a wider route", "/wide", long),
        chunked("buffer: none on a route", "/off", long),
    ]
}
