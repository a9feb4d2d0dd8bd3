//! TCP: plain, and routed by the name in a TLS greeting.

use crate::bootstrap::{Config, cluster, clusters, http2_upstream, typed};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};
use std::sync::Arc;

pub fn group() -> Group {
    Group {
        name: "tcp",
        config,
        cases,
    }
}

fn chain(matches: Value, cluster: &str) -> Value {
    chain_with(matches, cluster, json!({}))
}

fn chain_with(matches: Value, cluster: &str, more: Value) -> Value {
    let mut proxy = typed(
        "filters.network.tcp_proxy.v3.TcpProxy",
        json!({ "stat_prefix": cluster, "cluster": cluster }),
    );
    let more = more.as_object().expect("an object").clone();
    proxy.as_object_mut().expect("an object").extend(more);
    json!({
        "filter_chain_match": matches,
        "filters": [{ "name": "envoy.filters.network.tcp_proxy", "typed_config": proxy }],
    })
}

/// A listener whose connections go on in a tunnel.
fn tunnel(cluster: &str, orders: &str) -> Value {
    tunnel_with(cluster, orders, json!({}))
}

fn tunnel_with(cluster: &str, orders: &str, more: Value) -> Value {
    let header = |key: &str, value: &str| json!({ "header": { "key": key, "value": value } });
    let mut tunneling = json!({
        "hostname": "there.test:7",
        "headers_to_add": [header("x-do", orders), header("x-from", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")],
    });
    let more = more.as_object().expect("an object").clone();
    tunneling.as_object_mut().expect("an object").extend(more);
    let more = json!({ "tunneling_config": tunneling, "max_connect_attempts": 2 });
    json!({ "filter_chains": [chain_with(json!({}), cluster, more)] })
}

fn post() -> Value {
    json!({ "use_post": true, "post_path": "/through?x=1" })
}

fn config(upstreams: &Upstreams) -> Config {
    let inspector = json!([{
        "name": "envoy.filters.listener.tls_inspector",
        "typed_config": typed("filters.listener.tls_inspector.v3.TlsInspector", json!({})),
    }]);
    let chains = json!([
        chain(json!({ "server_names": ["one.test"] }), "tcp"),
        chain(json!({ "server_names": ["*.wild.test"] }), "tcp2"),
        chain(json!({ "application_protocols": ["special"] }), "tcp2"),
        chain(json!({ "transport_protocol": "raw_buffer" }), "tcp"),
    ]);
    let mut all = clusters(&upstreams.ports);
    all.push(cluster("empty", &[], json!({})));
    all.push(cluster("two", &[upstreams.ports["h2"]], http2_upstream()));
    Config {
        listeners: vec![
            json!({ "listener_filters": inspector, "filter_chains": chains }),
            json!({ "filter_chains": [chain(json!({}), "tcp")] }),
            json!({ "filter_chains": [chain(json!({}), "refused")] }),
            json!({ "filter_chains": [chain(json!({}), "not-there")] }),
            json!({ "filter_chains": [chain(json!({}), "empty")] }),
            tunnel("a", "once"),
            tunnel("two", "once"),
            tunnel("a", "status=403"),
            tunnel("refused", "once"),
            tunnel("empty", "once"),
            tunnel_with("a", "once", post()),
            tunnel_with("two", "once", post()),
            tunnel_with("a", "once", json!({ "use_post": true })),
            tunnel_with("a", "once, status=403", post()),
        ],
        clusters: all,
        ..Config::default()
    }
}

/// A real ClientHello for a name and ALPN. What a service echoes of it is random, so the
/// bytes are replaced by a count: the services answer with the number they got.
pub fn greeting(name: &'static str, alpn: &[&[u8]]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has its versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let name = name.try_into().expect("a valid name");
    let mut connection =
        rustls::ClientConnection::new(Arc::new(config), name).expect("a valid configuration");
    let mut bytes = Vec::new();
    connection
        .write_tls(&mut bytes)
        .expect("a vector takes everything");
    bytes
}

fn cases() -> Vec<Case> {
    vec![
        Case::opaque("plain", "hello").on(1),
        Case::opaque("refused", "hello")
            .on(2)
            .loose(&["end", "log.received"]),
        Case::opaque("no cluster", "hello")
            .on(3)
            .loose(&["end", "log.received"]),
        Case::opaque("no endpoint", "hello")
            .on(4)
            .loose(&["end", "log.received"]),
        Case::opaque("in a tunnel", "hello").on(5),
        Case::opaque("in a tunnel of HTTP/2", "hello").on(6),
        Case::opaque("in a tunnel by POST", "hello").on(10),
        Case::opaque("in a tunnel by POST of HTTP/2", "hello").on(11),
        Case::opaque("in a tunnel by POST without a path", "hello").on(12),
        Case::opaque("tunnel by POST refused", "hello")
            .on(13)
            .loose(&["end", "log.received"]),
        Case::opaque("tunnel refused", "hello")
            .on(7)
            .loose(&["end", "log.received"]),
        Case::opaque("nobody makes a tunnel", "hello")
            .on(8)
            .loose(&["end", "log.received"]),
        Case::opaque("no endpoint for a tunnel", "hello")
            .on(9)
            .loose(&["end", "log.received"]),
        Case::opaque("plain beside TLS", "hello"),
        Case::opaque("name", greeting("one.test", &[])),
        Case::opaque("name in another case", greeting("ONE.test", &[])),
        Case::opaque("name by wildcard", greeting("a.b.wild.test", &[])),
        Case::opaque("the wildcard's own name", greeting("wild.test", &[])).logs(0),
        Case::opaque("protocol", greeting("other.test", &[b"h2", b"special"])),
        Case::opaque("name that nobody has", greeting("other.test", &[b"h2"])).logs(0),
    ]
}
