//! WebSocket upgrades.

use crate::bootstrap::{Config, any_host, clusters, http_listener};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::json;

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
        { "match": { "prefix": "/" }, "route": { "cluster": "a", "timeout": "0s" } },
    ]);
    let own = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "a", "upgrade_configs": [{ "upgrade_type": "websocket" }] } }]);
    Config {
        listeners: vec![
            http_listener(
                any_host(routes),
                json!({ "upgrade_configs": [{ "upgrade_type": "websocket" }] }),
            ),
            http_listener(any_host(own), json!({})),
        ],
        clusters: clusters(&upstreams.ports),
    }
}

fn upgrade(name: &'static str, target: &str) -> Case {
    Case::get(name, target)
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "WebSocket")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
}

fn cases() -> Vec<Case> {
    vec![
        upgrade("accepted", "/")
            .ask("upgrade")
            .then(b"there and back"),
        upgrade("refused by the service", "/").ask("status=403"),
        upgrade("ignored by the service", "/"),
        upgrade("turned off by the route", "/off").ask("upgrade"),
        upgrade("turned on by the route", "/")
            .on(1)
            .ask("upgrade")
            .then(b"there and back"),
        Case::get("upgrade to something else", "/")
            .header("Connection", "Upgrade")
            .header("Upgrade", "h2c")
            .header("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        Case::get("upgrade header without its connection", "/").header("Upgrade", "websocket"),
    ]
}
