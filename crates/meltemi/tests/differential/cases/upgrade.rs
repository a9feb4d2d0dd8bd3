//! WebSocket upgrades and CONNECT, over HTTP/1.1 and HTTP/2.

use crate::bootstrap::{Config, any_host, cluster, clusters, http_listener, http2_upstream};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "upgrade",
        config,
        cases,
    }
}

fn config(upstreams: &Upstreams) -> Config {
    let routes = json!([
        { "match": { "prefix": "/off" }, "route": { "cluster": "a", "upgrade_configs": [{ "upgrade_type": "websocket", "enabled": false }] } },
        { "match": { "prefix": "/two" }, "route": { "cluster": "two", "timeout": "0s" } },
        { "match": { "prefix": "/" }, "route": { "cluster": "a", "timeout": "0s" } },
    ]);
    let own = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "a", "upgrade_configs": [{ "upgrade_type": "websocket" }] } }]);
    let connect = |host: &str, cluster: &str, upgrade: Value| {
        json!({ "name": host, "domains": [host], "routes": [
            { "match": { "connect_matcher": {} }, "route": { "cluster": cluster, "upgrade_configs": [upgrade] } },
            { "match": { "prefix": "/" }, "route": { "cluster": "a" } },
        ] })
    };
    let on = || json!({ "upgrade_type": "CONNECT" });
    let ends = || json!({ "upgrade_type": "CONNECT", "connect_config": {} });
    let connects = json!([
        connect("ends.test:7", "echo", ends()),
        connect("refused.test:7", "refused", ends()),
        connect("none.test:7", "not-there", ends()),
        connect("one.test:7", "a", on()),
        connect("two.test:7", "two", on()),
        connect(
            "off.test:7",
            "a",
            json!({ "upgrade_type": "CONNECT", "enabled": false })
        ),
        { "name": "paths", "domains": ["paths.test:7"], "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "a" } }] },
        { "name": "local", "domains": ["local.test:7"], "routes": [{ "match": { "connect_matcher": {} }, "direct_response": { "status": 418 } }] },
    ]);
    let two = || json!({ "http2_protocol_options": { "allow_connect": true } });
    let mut websocket = two();
    websocket["upgrade_configs"] = json!([{ "upgrade_type": "websocket" }]);
    let mut all = clusters(&upstreams.ports);
    all.push(cluster("two", &[upstreams.ports["h2"]], http2_upstream()));
    Config {
        listeners: vec![
            http_listener(any_host(routes), websocket),
            http_listener(any_host(own), json!({})),
            http_listener(connects, two()),
        ],
        clusters: all,
        ..Config::default()
    }
}

fn upgrade(name: &'static str, target: &str) -> Case {
    Case::get(name, target)
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "WebSocket")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
}

/// A client of HTTP/2 that leaves resets its stream or closes the connection first.
const RESET: &[&str] = &["log.details", "log.flags"];

/// WebSocket by extended CONNECT.
fn extended(name: &'static str, target: &str) -> Case {
    Case::get(name, target)
        .header("sec-websocket-version", "13")
        .tunnel(Some("websocket"))
        .loose(RESET)
        .then(b"there and back")
}

fn connect(name: &'static str, host: &str) -> Case {
    Case::raw(
        name,
        format!("CONNECT {host}:7 HTTP/1.1\r\nHost: {host}:7\r\n\r\n"),
    )
    .on(2)
}

fn connect2(name: &'static str, host: &str) -> Case {
    Case::get(name, "")
        .host(format!("{host}:7"))
        .tunnel(None)
        .on(2)
        .loose(RESET)
}

fn cases() -> Vec<Case> {
    const BYTES: &[u8] = b"there and back";
    vec![
        upgrade("accepted", "/").ask("upgrade").then(BYTES),
        upgrade("refused by the service", "/").ask("status=403"),
        upgrade("ignored by the service", "/"),
        upgrade("turned off by the route", "/off").ask("upgrade"),
        upgrade("turned on by the route", "/")
            .on(1)
            .ask("upgrade")
            .then(BYTES),
        Case::get("upgrade to something else", "/")
            .header("Connection", "Upgrade")
            .header("Upgrade", "h2c")
            .header("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        Case::get("upgrade header without its connection", "/").header("Upgrade", "websocket"),
        upgrade("to HTTP/2", "/two").then(BYTES),
        extended("extended to HTTP/1", "/").ask("upgrade"),
        extended("extended to HTTP/2", "/two"),
        extended("extended, turned off by the route", "/off"),
        extended("extended, refused by the service", "/").ask("status=403"),
        Case::get("extended to another protocol", "/")
            .tunnel(Some("other"))
            .then(BYTES),
        connect("CONNECT ends here", "ends.test").then(BYTES),
        connect2("CONNECT by HTTP/2 ends here", "ends.test").then(BYTES),
        connect("CONNECT to HTTP/1", "one.test").then(BYTES),
        connect("CONNECT to HTTP/2", "two.test").then(BYTES),
        connect2("CONNECT by HTTP/2 to HTTP/1", "one.test").then(BYTES),
        connect2("CONNECT by HTTP/2 to HTTP/2", "two.test").then(BYTES),
        connect("CONNECT to nobody", "refused.test"),
        connect2("CONNECT by HTTP/2 to nobody", "refused.test"),
        connect("CONNECT to no cluster", "none.test"),
        connect("CONNECT turned off", "off.test").closing(),
        connect2("CONNECT by HTTP/2 turned off", "off.test"),
        connect("CONNECT without a route", "paths.test").closing(),
        connect2("CONNECT by HTTP/2 without a route", "paths.test"),
        connect("CONNECT to no host", "nowhere.test").closing(),
        connect("CONNECT answered by the route", "local.test").closing(),
        upgrade("to no host", "/").host("nowhere.test").on(2),
        Case::get("GET where CONNECT is taken", "/")
            .host("ends.test:7")
            .on(2),
    ]
}
