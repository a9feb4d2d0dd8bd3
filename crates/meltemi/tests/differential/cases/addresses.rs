//! Whom the proxy believes about the client: x-forwarded-for and its kin.

use crate::bootstrap::{Config, any_host, clusters, http_listener};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "addresses",
        config,
        cases,
    }
}

fn listener(more: Value) -> Value {
    let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "a" } }]);
    http_listener(any_host(routes), more)
}

fn config(upstreams: &Upstreams) -> Config {
    let loopback = json!({ "cidr_ranges": [{ "address_prefix": "127.0.0.0", "prefix_len": 8 }] });
    Config {
        listeners: vec![
            listener(json!({})),
            listener(json!({ "use_remote_address": true })),
            listener(json!({ "use_remote_address": true, "xff_num_trusted_hops": 1 })),
            listener(json!({ "use_remote_address": true, "internal_address_config": loopback })),
            listener(json!({ "use_remote_address": true, "skip_xff_append": true })),
            listener(json!({ "xff_num_trusted_hops": 1 })),
            listener(
                json!({ "use_remote_address": true, "forward_client_cert_details": "SANITIZE" }),
            ),
            listener(json!({ "forward_client_cert_details": "ALWAYS_FORWARD_ONLY" })),
        ],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

/// The same claims to each of the listeners.
fn cases() -> Vec<Case> {
    const NAMES: [[&str; 3]; 8] = [
        [
            "sidecar: nothing claimed",
            "sidecar: one hop",
            "sidecar: everything forged",
        ],
        [
            "edge: nothing claimed",
            "edge: one hop",
            "edge: everything forged",
        ],
        [
            "one trusted hop: nothing claimed",
            "one trusted hop: one hop",
            "one trusted hop: everything forged",
        ],
        [
            "internal loopback: nothing claimed",
            "internal loopback: one hop",
            "internal loopback: everything forged",
        ],
        [
            "not appended: nothing claimed",
            "not appended: one hop",
            "not appended: everything forged",
        ],
        [
            "trusted sidecar: nothing claimed",
            "trusted sidecar: one hop",
            "trusted sidecar: everything forged",
        ],
        [
            "certificate details dropped: nothing claimed",
            "certificate details dropped: one hop",
            "certificate details dropped: everything forged",
        ],
        [
            "certificate details kept: nothing claimed",
            "certificate details kept: one hop",
            "certificate details kept: everything forged",
        ],
    ];
    let mut cases = Vec::new();
    for (listener, [nothing, hop, forged]) in NAMES.into_iter().enumerate() {
        cases.push(Case::get(nothing, "/").on(listener));
        cases.push(
            Case::get(hop, "/")
                .on(listener)
                .header("x-forwarded-for", "203.0.113.7")
                .header("x-forwarded-proto", "https"),
        );
        cases.push(
            Case::get(forged, "/")
                .on(listener)
                .header("x-forwarded-for", "10.0.0.1, 203.0.113.9")
                .header("x-forwarded-for", "198.51.100.2")
                .header("x-forwarded-host", "evil.test")
                .header("x-forwarded-proto", "gopher")
                .header("x-forwarded-client-cert", "URI=spiffe://forged")
                .header("x-envoy-external-address", "1.2.3.4")
                .header("x-envoy-internal", "true")
                .header("x-envoy-max-retries", "3")
                .header("x-envoy-retry-on", "5xx")
                .header("x-envoy-upstream-rq-timeout-ms", "5"),
        );
    }
    cases
}
