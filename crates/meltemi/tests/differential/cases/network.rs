//! Network filters before the one that consumes the connection.

use crate::bootstrap::{Config, any_host, clusters, http_listener, typed};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "network",
        config,
        cases,
    }
}

fn rbac(fields: Value) -> Value {
    let mut fields = fields;
    fields["stat_prefix"] = json!("tcp.");
    json!({ "name": "envoy.filters.network.rbac", "typed_config": typed("filters.network.rbac.v3.RBAC", fields) })
}

fn limit(tokens: u32) -> Value {
    let bucket = json!({ "max_tokens": tokens, "tokens_per_fill": 1, "fill_interval": "3600s" });
    json!({ "name": "envoy.filters.network.local_ratelimit", "typed_config": typed(
        "filters.network.local_ratelimit.v3.LocalRateLimit",
        json!({ "stat_prefix": "limit", "token_bucket": bucket }),
    ) })
}

fn at_once(connections: u32) -> Value {
    json!({ "name": "envoy.filters.network.connection_limit", "typed_config": typed(
        "filters.network.connection_limit.v3.ConnectionLimit",
        json!({ "stat_prefix": "at_once", "max_connections": connections }),
    ) })
}

fn tcp(filters: &[Value]) -> Value {
    let mut filters = filters.to_vec();
    let proxy = json!({ "stat_prefix": "tcp", "cluster": "tcp" });
    filters.push(json!({ "name": "envoy.filters.network.tcp_proxy", "typed_config": typed("filters.network.tcp_proxy.v3.TcpProxy", proxy) }));
    json!({ "filter_chains": [{ "filters": filters }] })
}

fn rules(action: &str, permission: Value, principal: Value) -> Value {
    json!({ "action": action, "policies": {
        "ns[default]-policy[p]-rule[0]": { "permissions": [permission], "principals": [principal] },
    } })
}

fn config(upstreams: &Upstreams) -> Config {
    let any = json!({ "any": true });
    let from = |address: &str, length: u8| {
        let range = json!({ "address_prefix": address, "prefix_len": length });
        json!({ "direct_remote_ip": range })
    };
    let loopback = from("127.0.0.0", 8);
    let elsewhere = from("10.0.0.0", 8);
    let peer = json!({ "authenticated": { "principal_name": { "prefix": "spiffe://" } } });
    let sni = json!({ "requested_server_name": { "exact": "one.test" } });
    let allow = |principal: &Value| rules("ALLOW", any.clone(), principal.clone());
    let deny = |principal: &Value| rules("DENY", any.clone(), principal.clone());
    let mut http = http_listener(
        any_host(json!([{ "match": { "prefix": "/" }, "route": { "cluster": "a" } }])),
        json!({}),
    );
    let filters = &mut http["filter_chains"][0]["filters"];
    let guard = rbac(json!({ "rules": deny(&loopback) }));
    filters.as_array_mut().expect("a list").insert(0, guard);
    Config {
        listeners: vec![
            tcp(&[rbac(json!({ "rules": allow(&loopback) }))]),
            tcp(&[rbac(json!({ "rules": allow(&elsewhere) }))]),
            tcp(&[rbac(json!({ "rules": deny(&loopback) }))]),
            tcp(&[rbac(json!({ "rules": deny(&elsewhere) }))]),
            tcp(&[rbac(
                json!({ "rules": allow(&json!({ "not_id": peer })), "shadow_rules": deny(&loopback), "shadow_rules_stat_prefix": "dry_" }),
            )]),
            tcp(&[rbac(json!({ "rules": rules("ALLOW", sni, any.clone()) }))]),
            tcp(&[rbac(
                json!({ "rules": rules("LOG", any.clone(), any.clone()) }),
            )]),
            http,
            tcp(&[limit(1)]),
            tcp(&[
                rbac(json!({ "rules": allow(&loopback) })),
                rbac(json!({ "rules": deny(&loopback), "delay_deny": "0.1s" })),
            ]),
            tcp(&[at_once(1)]),
        ],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

/// Envoy has connected by the time it reads the byte at which it decides.
const EARLIER: &[&str] = &["end", "log.received", "log.attempts", "log.cluster"];

fn cases() -> Vec<Case> {
    let hello = |name: &'static str, listener: usize| Case::opaque(name, "hello").on(listener);
    vec![
        hello("allowed by address", 0),
        hello("not allowed by address", 1).loose(EARLIER),
        hello("denied by address", 2).loose(EARLIER),
        hello("not denied by address", 3),
        hello("allowed without a certificate, denied in the shadow", 4),
        hello("not allowed without a server name", 5).loose(EARLIER),
        hello("only logged", 6),
        hello("the only connection", 10),
        hello("the only connection again", 10),
        hello("requests on a denied connection", 7)
            .loose(EARLIER)
            .logs(0),
        hello("within the limit of connections", 8),
        hello("beyond the limit of connections", 8)
            .loose(EARLIER)
            .logs(0),
        hello("denied by the second filter, later", 9).loose(&[
            "end",
            "log.received",
            "log.attempts",
            "log.cluster",
            "log.flags",
            "log.termination",
        ]),
    ]
}
