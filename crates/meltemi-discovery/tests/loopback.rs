//! Workloads that share one network: every listener has an address of its own workload, and
//! nothing is sent back to the listener that it came from.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use meltemi_discovery::proxy::Loopback;
use meltemi_discovery::{Proxy, ProxyKind};
use serde_json::Value;

const OBJECTS: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { clusterIP: 10.99.0.10, selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 9080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: store }
spec: { clusterIP: 10.99.1.20, ports: [{ name: tcp, port: 6379 }, { name: any, port: 7000 }] }
---
apiVersion: v1
kind: Service
metadata: { name: peers }
spec: { clusterIP: None, ports: [{ name: tcp, port: 9000 }] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  selector: { istio: gateway }
  servers: [{ port: { number: 8080, name: http, protocol: HTTP }, hosts: ["*"] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: edge }
spec: { hosts: ["*"], gateways: [edge], http: [{ route: [{ destination: { host: web } }] }] }
"#;

fn proxy(kind: ProxyKind, label: (&str, &str)) -> Proxy {
    let mut proxy = common::proxy(kind, "one", "127.77.0.3", &[label]);
    proxy.intercepts = kind == ProxyKind::Gateway;
    proxy.loopback = Some(Loopback {
        application: "127.78.0.3".parse().unwrap(),
        services: [10, 99],
        clients: [127, 130],
        lowest_port: 1,
    });
    proxy
}

fn addresses(listeners: &[Value]) -> Vec<String> {
    let mut found: Vec<String> = listeners
        .iter()
        .map(|listener| {
            assert!(listener["bind_to_port"].is_null(), "{listener:#}");
            let socket = &listener["address"]["socket_address"];
            format!(
                "{}:{}",
                socket["address"].as_str().unwrap(),
                socket["port_value"]
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn every_service_has_an_address_of_the_callers_own() {
    let resources = common::translated(
        &common::objects(OBJECTS),
        &proxy(ProxyKind::Sidecar, ("app", "web")),
    );
    let json = common::json(&resources);
    assert_eq!(
        addresses(&json["lds"]),
        [
            "127.130.0.10:80",
            "127.130.1.20:6379",
            "127.130.1.20:7000",
            "127.77.0.3:9080"
        ]
    );
    // The Host header is an address there: the listener is the service's alone.
    let routes = json["rds"].iter().map(|route| {
        let host = &route["virtual_hosts"][0];
        (route["name"].as_str().unwrap(), host["domains"].clone())
    });
    assert_eq!(
        routes.collect::<Vec<_>>(),
        [
            ("web.default.svc.cluster.local:80", serde_json::json!(["*"])),
            (
                "store.default.svc.cluster.local:7000",
                serde_json::json!(["*"])
            ),
        ]
    );
    let inbound = json["cds"]
        .iter()
        .find(|cluster| cluster["name"] == "inbound|9080||")
        .unwrap();
    let endpoint = &inbound["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    assert_eq!(
        endpoint["address"]["socket_address"]["address"],
        "127.78.0.3"
    );
    assert!(inbound["upstream_bind_config"].is_null());
    // What a listener cannot serve must not come back to it.
    let listeners = serde_json::to_string(&json["lds"]).unwrap();
    assert!(!listeners.contains("PassthroughCluster"), "{listeners}");
    let issue = resources
        .issues
        .iter()
        .find(|issue| issue.object.name == "peers")
        .unwrap();
    assert!(issue.message.contains("loopback mode"), "{issue:?}");
}

#[test]
fn a_gateway_listens_at_its_own_address() {
    let resources = common::translated(
        &common::objects(OBJECTS),
        &proxy(ProxyKind::Gateway, ("istio", "gateway")),
    );
    let json = common::json(&resources);
    assert_eq!(addresses(&json["lds"]), ["127.77.0.3:8080"]);
    assert_eq!(json["rds"][0]["name"], "http.8080");
}

#[test]
fn the_node_says_it_and_mistakes_are_refused() {
    use meltemi_discovery::pb::{core, structs};
    let read = |clients: &str| {
        let loopback = structs::object([
            ("application", structs::string("127.78.0.3")),
            ("services", structs::string("10.99.0.0/16")),
            ("clients", structs::string(clients)),
        ]);
        Proxy::from_node(&core::Node {
            id: "sidecar~127.77.0.3~one.default~default.svc.cluster.local".to_owned(),
            metadata: Some(structs::structure([
                ("INTERCEPTION_MODE", structs::string("NONE")),
                ("LOOPBACK", loopback),
            ])),
            ..Default::default()
        })
    };
    let proxy = read("127.130.0.0/16").unwrap();
    assert_eq!(proxy.loopback.unwrap().clients, [127, 130]);
    assert_eq!(proxy.application(), Some("127.78.0.3".parse().unwrap()));
    assert!(
        read("127.130.0.0/8")
            .unwrap_err()
            .to_string()
            .contains("A.B.0.0/16")
    );
}
