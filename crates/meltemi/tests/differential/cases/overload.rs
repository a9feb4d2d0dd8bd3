//! The overload manager: requests and connections that are refused while memory runs short,
//! which of one byte it always does.

use crate::bootstrap::{Config, any_host, clusters, http_listener, typed};
use crate::case::{Case, Group, Input};
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
        group("overload shed", shed, || counted(requests())),
        group(
            "overload shed http1",
            |upstreams| point(upstreams, "http1_server_abort_dispatch"),
            || counted(requests()),
        ),
        group(
            "overload shed goaway",
            |upstreams| point(upstreams, "http2_server_go_away_on_dispatch"),
            // A client by HTTP/2 may read GOAWAY before it asks.
            || {
                let mut cases = requests();
                cases.retain(|case| matches!(case.input, Input::Http1));
                counted(cases)
            },
        ),
        group(
            "overload shed goaway and close",
            |upstreams| point(upstreams, "http2_server_go_away_and_close_on_dispatch"),
            || {
                let mut cases = unheard();
                // A client by HTTP/2 may read GOAWAY before it asks.
                let by_http2 = |case: &&mut Case| matches!(case.input, Input::Http2);
                cases
                    .iter_mut()
                    .filter(by_http2)
                    .for_each(|case| case.loose = &["end"]);
                counted(cases)
            },
        ),
        group(
            "overload shed codec",
            |upstreams| point(upstreams, "hcm_ondata_creating_codec"),
            // Whether a client writes or reads first decides what it meets.
            || {
                let mut cases = unheard();
                cases.iter_mut().for_each(|case| case.loose = &["end"]);
                counted(cases)
            },
        ),
        group(
            "overload shed router",
            |upstreams| point(upstreams, "http_downstream_filter_check"),
            || counted(requests()),
        ),
        group(
            "overload shed upstream",
            |upstreams| point(upstreams, "connection_pool_new_connection"),
            || {
                let mut cases = requests();
                let mut tcp = Case::opaque("TCP", "text").on(1);
                // We reset: an orderly end would look like an empty answer.
                tcp.loose = &["end"];
                cases.push(tcp);
                counted(cases)
            },
        ),
        group(
            "overload shed tcp",
            |upstreams| point(upstreams, "tcp_proxy_upstream_connect"),
            || {
                let mut tcp = Case::opaque("TCP", "text").on(1);
                // A reset, if the text is there before the end is.
                tcp.loose = &["end"];
                counted(vec![tcp])
            },
        ),
        group("overload reduced", reduced, || {
            vec![
                Case::get("a slow answer", "/").header("x-do", "delay=3000"),
                Case::get("a slow answer by HTTP/2", "/")
                    .header("x-do", "delay=3000")
                    .http2(),
            ]
        }),
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

/// These, and how often load was shed for them.
fn counted(mut cases: Vec<Case>) -> Vec<Case> {
    cases.push(Case::statistics("what was shed", &["shed_load_count"]));
    cases
}

/// Connections that end before anything is logged; a client that wants a tunnel may meet the end
/// before it asks.
fn unheard() -> Vec<Case> {
    let mut cases = requests();
    cases.retain(|case| !matches!(case.input, Input::Tunnel(_)));
    cases.into_iter().map(|case| case.logs(0)).collect()
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

fn point(upstreams: &Upstreams, name: &str) -> Config {
    let name = format!("envoy.load_shed_points.{name}");
    manager(
        upstreams,
        1,
        json!({ "loadshed_points": [{ "name": name, "triggers": [trigger()] }] }),
    )
}

fn reduced(upstreams: &Upstreams) -> Config {
    let mut action = action("reduce_timeouts");
    action["typed_config"] = json!({
        "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
        "timer_scale_factors": [{ "timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_timeout": "0.2s" }],
    });
    manager(upstreams, 1, json!({ "actions": [action] }))
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
        listeners: vec![
            http_listener(any_host(routes), json!({ "append_local_overload": true })),
            json!({ "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": typed(
                    "filters.network.tcp_proxy.v3.TcpProxy",
                    json!({ "stat_prefix": "tcp", "cluster": "tcp" }),
                ),
            }] }] }),
        ],
        clusters: clusters(&upstreams.ports),
        overload: Some(overload),
    }
}
