//! Access logs of listeners: a line for every connection.

use crate::bootstrap::{Config, LOG, any_host, cluster, clusters, http_listener, typed};
use crate::case::{Case, Group};
use crate::client_tls;
use crate::common::certificates::Authority;
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "listener logs",
        config,
        cases,
    }
}

/// A field each; the comparison knows them by the names that fields of requests have there.
const FIELDS: [&str; 15] = [
    "PROTOCOL",
    "ACCESS_LOG_TYPE",
    "FILTER_CHAIN_NAME",
    "REQUESTED_SERVER_NAME",
    "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_FLAGS",
    "UPSTREAM_CLUSTER",
    "ROUTE_NAME",
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "CONNECTION_TERMINATION_DETAILS",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(20)",
];

fn logged(mut listener: Value) -> Value {
    let fields = FIELDS.map(|field| format!("%{field}%"));
    let line = fields.join("\t") + "\n";
    listener["filter_chains"][0]["name"] = json!("chain");
    listener["access_log"] = json!([{
        "name": "listener",
        "typed_config": typed("access_loggers.file.v3.FileAccessLog", json!({
            "path": LOG,
            "log_format": { "text_format_source": { "inline_string": line } },
        })),
    }]);
    listener
}

fn inspecting(mut listener: Value, name: &str, kind: &str) -> Value {
    listener["listener_filters"] = json!([{
        "name": format!("envoy.filters.listener.{name}"),
        "typed_config": typed(&format!("filters.listener.{name}.v3.{kind}"), json!({})),
    }]);
    listener
}

fn tcp(to: &str) -> Value {
    json!({ "filter_chains": [{ "filters": [{
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": typed(
            "filters.network.tcp_proxy.v3.TcpProxy",
            json!({ "stat_prefix": "tcp", "cluster": to }),
        ),
    }] }] })
}

/// Before the terminal filter: nobody is let in.
fn closed(mut listener: Value) -> Value {
    let any = json!([{ "any": true }]);
    let deny = json!({ "action": "DENY", "policies": {
        "all": { "permissions": any, "principals": any },
    } });
    let filter = json!({
        "name": "envoy.filters.network.rbac",
        "typed_config": typed(
            "filters.network.rbac.v3.RBAC",
            json!({ "stat_prefix": "closed", "rules": deny }),
        ),
    });
    let filters = listener["filter_chains"][0]["filters"].as_array_mut();
    filters.expect("a list").insert(0, filter);
    listener
}

fn config(upstreams: &Upstreams) -> Config {
    let http = || {
        let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "a" } }]);
        http_listener(any_host(routes), json!({}))
    };
    let mut nowhere = http();
    nowhere["filter_chains"][0]["filter_chain_match"] = json!({ "server_names": ["no.test"] });
    let mut secured = http();
    let server = Authority::new("servers").issue("server.test");
    secured["filter_chains"][0]["transport_socket"] = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed("transport_sockets.tls.v3.DownstreamTlsContext", json!({
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": { "inline_string": server.chain },
                    "private_key": { "inline_string": server.key },
                }],
                "tls_params": { "tls_minimum_protocol_version": "TLSv1_3" },
            },
        })),
    });
    let mut all = clusters(&upstreams.ports);
    let mut named = cluster("named", &[upstreams.ports["tcp"]], json!({}));
    let endpoint = &mut named["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    endpoint["hostname"] = json!("service.test:80");
    all.push(named);
    let listeners = [
        http(),
        inspecting(http(), "tls_inspector", "TlsInspector"),
        tcp("named"),
        tcp("refused"),
        closed(tcp("tcp")),
        closed(http()),
        inspecting(nowhere, "tls_inspector", "TlsInspector"),
        secured.clone(),
        inspecting(secured, "tls_inspector", "TlsInspector"),
        inspecting(http(), "proxy_protocol", "ProxyProtocol"),
    ];
    Config {
        listeners: listeners.map(logged).into(),
        clusters: all,
        ..Config::default()
    }
}

/// Bytes of a connection's requests and answers are not counted here.
const BYTES: &[&str] = &["log#2.received", "log#2.sent"];
/// Envoy tells also that its inspector saw no handshake.
const INSPECTED: &[&str] = &["log#2.received", "log#2.sent", "log#2.failure"];
/// How the client is told has its own suite.
const BROKEN: &[&str] = &[
    "end",
    "log.details",
    "log.received",
    "log.sent",
    "log#2.received",
    "log#2.sent",
];
/// Each library has its own words for what was wrong with a handshake, and Envoy tells as one
/// that its inspector saw none.
const WORDS: &[&str] = &["log.failure", "end"];
/// When Envoy decides it has connected, and read.
const LATER: &[&str] = &[
    "end",
    "log.received",
    "log.cluster",
    "log.authority",
    "log#2.received",
    "log#2.cluster",
    "log#2.attempts",
];

fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::get("a request", "/").logs(2).loose(BYTES),
        Case::get("a request by HTTP/2", "/")
            .http2()
            .logs(2)
            .loose(BYTES),
        Case::get("a request, inspected", "/")
            .on(1)
            .logs(2)
            .loose(INSPECTED),
        Case::opaque("no HTTP", "nonsense\r\n\r\n")
            .logs(2)
            .loose(BROKEN),
        Case::opaque(
            "a frame too large",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x01\0\0\x04\0\0\0\0\0",
        )
        .logs(1)
        .loose(BROKEN),
        Case::opaque("TCP", "hello").on(2).logs(2),
        // The order of flags, and whether an endpoint that refused was one.
        Case::opaque("TCP to nobody", "hello")
            .on(3)
            .logs(2)
            .loose(&["log.flags", "log#2.flags", "log.authority"]),
        Case::opaque("TCP denied", "hello")
            .on(4)
            .logs(2)
            .loose(LATER),
        Case::opaque("HTTP denied", "hello")
            .on(5)
            .logs(1)
            .loose(LATER),
        Case::get("no chain", "/").on(6).logs(1).loose(WORDS),
        Case::opaque("no TLS", "hello").on(7).logs(1).loose(WORDS),
        Case::opaque("no PROXY", "hello, this is none at all")
            .on(9)
            .logs(1),
    ];
    if !client_tls::available() {
        println!("skipped: cases of listener logs with TLS, openssl not found");
        return cases;
    }
    const GOOD: &[&str] = &["-servername", "good.test"];
    const OLD: &[&str] = &["-tls1_2", "-servername", "old.test"];
    cases.extend([
        Case::handshake("TLS", GOOD).on(7).logs(1),
        Case::handshake("TLS, inspected", GOOD).on(8).logs(1),
        Case::handshake("no version in common", OLD)
            .on(8)
            .logs(1)
            .loose(WORDS),
    ]);
    cases
}
