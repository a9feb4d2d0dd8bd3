//! A load balancer in front that names its client by the PROXY protocol.

use crate::bootstrap::{Config, any_host, clusters, http_listener_with, typed};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "announced",
        config,
        cases,
    }
}

fn listener(filter: Value, policies: Value) -> Value {
    let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "a" } }]);
    let options = json!({ "use_remote_address": true });
    let mut listener = http_listener_with(policies, any_host(routes), options);
    listener["listener_filters"] = json!([{
        "name": "proxy",
        "typed_config": typed("filters.listener.proxy_protocol.v3.ProxyProtocol", filter),
    }]);
    listener
}

/// Denies the client that the cases announce, by this kind of address.
fn denied_by(kind: &str) -> Value {
    let principal = json!({ kind: { "address_prefix": "192.0.2.0", "prefix_len": 24 } });
    let policy = json!({ "permissions": [{ "any": true }], "principals": [principal] });
    let rules = json!({ "action": "DENY", "policies": { "p": policy } });
    json!([{
        "name": "rbac",
        "typed_config": typed("filters.http.rbac.v3.RBAC", json!({ "rules": rules })),
    }])
}

fn config(upstreams: &Upstreams) -> Config {
    let optional = json!({ "allow_requests_without_proxy_protocol": true });
    Config {
        listeners: vec![
            listener(json!({}), json!([])),
            listener(optional, json!([])),
            listener(json!({}), denied_by("remote_ip")),
            listener(json!({}), denied_by("source_ip")),
            listener(json!({}), denied_by("direct_remote_ip")),
        ],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

/// A request after that header.
fn after(name: &'static str, header: &[u8]) -> Case {
    let request = b"GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n";
    Case::raw(name, [header, request].concat())
}

/// Version 2: its command, its family, and what it says of the connection.
fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend_from_slice(&[command, family, 0, content.len() as u8]);
    header.extend_from_slice(content);
    header
}

fn cases() -> Vec<Case> {
    let v4 = [192, 0, 2, 7, 192, 0, 2, 8, 0x30, 0x39, 0, 80];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    v6[15] = 1;
    v6[16..20].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    v6[31] = 2;
    v6[35] = 80;
    let extended = [&v4[..], &[4, 0, 2, 9, 9]].concat();
    let cut = [&v4[..], &[4, 0, 2, 9]].concat();
    let closed = |case: Case| case.closing().logs(0).seen(0);
    vec![
        after("a line", b"PROXY TCP4 192.0.2.7 192.0.2.8 12345 80\r\n"),
        after(
            "a line of IPv6",
            b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n",
        ),
        after("a line that knows nothing", b"PROXY UNKNOWN\r\n"),
        after("binary", &binary(0x21, 0x11, &v4)),
        after("binary of IPv6", &binary(0x21, 0x21, &v6)),
        after("binary with an extension", &binary(0x21, 0x11, &extended)),
        after("binary of the balancer itself", &binary(0x20, 0x00, &[])),
        closed(after("no header", b"")),
        closed(after("a line that is cut", b"PROXY TCP4 192.0.2.7\r\n")),
        closed(after(
            "a line of another family",
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
        )),
        closed(after(
            "a line of nobody",
            b"PROXY TCP4 0.0.0.0 192.0.2.8 1 2\r\n",
        )),
        closed(after("an extension that is cut", &binary(0x21, 0x11, &cut))),
        closed(after(
            "addresses that are cut",
            &binary(0x21, 0x11, &v4[..8]),
        )),
        closed(after("another version", &binary(0x11, 0x11, &v4))),
        closed(after("another family", &binary(0x21, 0x31, &v4))),
        after(
            "optional: a line",
            b"PROXY TCP4 192.0.2.7 192.0.2.8 12345 80\r\n",
        )
        .on(1),
        after("policy on the client", &binary(0x21, 0x11, &v4)).on(2),
        after("policy on the connection", &binary(0x21, 0x11, &v4)).on(3),
        after("policy on the balancer", &binary(0x21, 0x11, &v4)).on(4),
        after("optional: binary", &binary(0x21, 0x11, &v4)).on(1),
        after("optional: no header", b"").on(1),
        closed(after("optional: a line that is wrong", b"PROXY TCP4\r\n").on(1)),
    ]
}
