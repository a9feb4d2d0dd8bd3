//! The overload manager: requests and connections that are refused while memory runs short,
//! which of one byte it always does.

use crate::bootstrap::{Config, any_host, clusters, http_listener, typed};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn groups() -> Vec<Group> {
    let group = |name, config, cases| Group {
        name,
        config,
        cases,
    };
    vec![
        group("overload", stopped, || {
            let mut cases = requests();
            cases.push(Case::grpc("gRPC", "/"));
            cases
        }),
        group("overload kept", kept, requests),
        group("overload rejected", rejected, || {
            vec![Case::opaque("a connection", "").logs(0)]
        }),
        group("overload shed", shed, requests),
        group("overload below", below, requests),
    ]
}

fn requests() -> Vec<Case> {
    vec![
        Case::get("GET", "/"),
        Case::get("GET by HTTP/2", "/").http2(),
        Case::get("POST", "/").method("POST").body("body"),
        Case::get("CONNECT", "/").host("a:1").tunnel(None),
    ]
}

fn stopped(upstreams: &Upstreams) -> Config {
    manager(
        upstreams,
        1,
        json!({ "actions": [action("stop_accepting_requests")] }),
    )
}

fn kept(upstreams: &Upstreams) -> Config {
    manager(
        upstreams,
        1,
        json!({ "actions": [action("disable_http_keepalive")] }),
    )
}

fn rejected(upstreams: &Upstreams) -> Config {
    manager(
        upstreams,
        1,
        json!({ "actions": [action("reject_incoming_connections")] }),
    )
}

fn shed(upstreams: &Upstreams) -> Config {
    let name = "envoy.load_shed_points.http_connection_manager_decode_headers";
    manager(
        upstreams,
        1,
        json!({ "loadshed_points": [{ "name": name, "triggers": [trigger()] }] }),
    )
}

fn below(upstreams: &Upstreams) -> Config {
    let all = [
        "stop_accepting_requests",
        "disable_http_keepalive",
        "stop_accepting_connections",
        "reject_incoming_connections",
        "shrink_heap",
    ];
    let actions: Vec<Value> = all.into_iter().map(action).collect();
    manager(upstreams, 1 << 40, json!({ "actions": actions }))
}

fn trigger() -> Value {
    json!({ "name": "envoy.resource_monitors.fixed_heap", "threshold": { "value": 0.9 } })
}

fn action(name: &str) -> Value {
    json!({ "name": format!("envoy.overload_actions.{name}"), "triggers": [trigger()] })
}

fn manager(upstreams: &Upstreams, bytes: u64, more: Value) -> Config {
    let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "a" } }]);
    let mut overload = json!({
        "refresh_interval": "0.01s",
        "resource_monitors": [{
            "name": "envoy.resource_monitors.fixed_heap",
            "typed_config": typed(
                "resource_monitors.fixed_heap.v3.FixedHeapConfig",
                json!({ "max_heap_size_bytes": bytes }),
            ),
        }],
    });
    let more = more.as_object().expect("an object").clone();
    overload.as_object_mut().expect("an object").extend(more);
    Config {
        listeners: vec![http_listener(
            any_host(routes),
            json!({ "append_local_overload": true }),
        )],
        clusters: clusters(&upstreams.ports),
        overload: Some(overload),
    }
}
