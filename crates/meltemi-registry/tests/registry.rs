//! Objects in, services and endpoints out.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;
use std::sync::Arc;

use meltemi_api::Object;
use meltemi_registry::{Registry, Resolution, Settings};
use serde_json::{Value, json};

fn registry(objects: &[Value]) -> Registry {
    let objects: Vec<Object> = objects
        .iter()
        .map(|object| meltemi_api::decode(object, "default").unwrap())
        .collect();
    Registry::build(&objects, &Settings::default())
}

fn pod(name: &str, ip: &str, ready: bool, labels: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"serviceAccountName": "sa", "containers": [
            {"name": "app", "image": "x", "ports": [{"name": "web", "containerPort": 8080}]}
        ]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [
            {"type": "Ready", "status": if ready { "True" } else { "False" }}
        ]}
    })
}

fn service(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec
    })
}

fn endpoints(registry: &Registry, host: &str, port: u16) -> Vec<String> {
    registry.by_host(host)[0]
        .endpoints(port)
        .iter()
        .map(|endpoint| format!("{}:{}", endpoint.target, endpoint.port))
        .collect()
}

#[test]
fn ready_pods_with_the_labels_are_endpoints_on_their_named_ports() {
    let registry = registry(&[
        service(
            "web",
            json!({
                "selector": {"app": "web"},
                "ports": [{"name": "http", "port": 80, "targetPort": "web"}]
            }),
        ),
        pod("a", "10.0.0.2", true, json!({"app": "web"})),
        pod(
            "b",
            "10.0.0.1",
            true,
            json!({"app": "web", "version": "v2"}),
        ),
        pod("unready", "10.0.0.3", false, json!({"app": "web"})),
        pod("other", "10.0.0.4", true, json!({"app": "other"})),
    ]);
    let host = "web.default.svc.cluster.local";
    assert_eq!(
        endpoints(&registry, host, 80),
        ["10.0.0.1:8080", "10.0.0.2:8080"]
    );
    let service = &registry.by_host(host)[0];
    assert!(
        service
            .identities
            .contains("spiffe://cluster.local/ns/default/sa/sa")
    );
    let address = service.address(true).unwrap();
    assert!(address.starts_with("10.99."), "{address}");
}

#[test]
fn a_workload_knows_what_it_serves_also_before_it_is_ready() {
    let registry = registry(&[
        service(
            "web",
            json!({
                "selector": {"app": "web"},
                "ports": [{"name": "http", "port": 80, "targetPort": "web"}]
            }),
        ),
        pod("unready", "10.0.0.3", false, json!({"app": "web"})),
    ]);
    let ip: IpAddr = "10.0.0.3".parse().unwrap();
    let labels = [("app".to_owned(), "web".to_owned())].into();
    let targets = registry.targets("default", &labels, &[ip]);
    assert_eq!(targets.len(), 1);
    assert_eq!((targets[0].port.number, targets[0].target_port), (80, 8080));
}

#[test]
fn pods_without_a_sidecar_and_gateways_take_no_mesh_tls() {
    let mut plain = pod("plain", "10.0.0.1", true, json!({"app": "web"}));
    plain["metadata"]["annotations"] = json!({"sidecar.istio.io/inject": "false"});
    let registry = registry(&[
        plain,
        pod("injected", "10.0.0.2", true, json!({"app": "web"})),
        pod(
            "gateway",
            "10.0.0.3",
            true,
            json!({"istio": "ingressgateway"}),
        ),
    ]);
    let takes = |name: &str| {
        registry
            .instance("default", name)
            .unwrap()
            .workload
            .mutual_tls
    };
    assert!(!takes("plain") && takes("injected") && !takes("gateway"));
}

#[test]
fn slices_replace_the_selection() {
    let registry = registry(&[
        service(
            "web",
            json!({"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}),
        ),
        pod("a", "10.0.0.1", true, json!({"app": "web"})),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "web-1", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 9000}],
            "endpoints": [
                {"addresses": ["10.0.0.7"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.8"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.9"], "conditions": {"ready": true, "terminating": true}}
            ]
        }),
    ]);
    assert_eq!(
        endpoints(&registry, "web.default.svc.cluster.local", 80),
        ["10.0.0.7:9000"]
    );
}

#[test]
fn service_entries_select_workloads_and_get_addresses() {
    let entry = |name: &str, spec: Value| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": {"name": name, "namespace": "default"}, "spec": spec
        })
    };
    let registry = registry(&[
        entry(
            "vm",
            json!({
                "hosts": ["vm.test"], "location": "MESH_INTERNAL", "resolution": "STATIC",
                "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8000}],
                "workloadSelector": {"labels": {"app": "vm"}}
            }),
        ),
        entry(
            "dns",
            json!({
                "hosts": ["dns.test"], "resolution": "DNS",
                "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}]
            }),
        ),
        entry(
            "wild",
            json!({
                "hosts": ["*.wild.test"], "resolution": "NONE",
                "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}]
            }),
        ),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
            "metadata": {"name": "vm-1", "namespace": "default"},
            "spec": {"address": "10.5.0.1", "labels": {"app": "vm"}, "ports": {"http": 8888},
                "serviceAccount": "vm", "weight": 4, "locality": "eu/a"}
        }),
        pod("in-cluster", "10.0.0.1", true, json!({"app": "vm"})),
    ]);
    assert_eq!(
        endpoints(&registry, "vm.test", 80),
        ["10.0.0.1:8000", "10.5.0.1:8888"]
    );
    let vm = &registry.by_host("vm.test")[0].endpoints(80)[1];
    assert_eq!((vm.weight, vm.workload.mutual_tls), (4, true));
    assert_eq!(vm.workload.locality.zone, "a");
    assert_eq!(endpoints(&registry, "dns.test", 443), ["dns.test:443"]);
    let address = |host: &str| {
        registry.by_host(host)[0]
            .auto_address
            .map(|ip| ip.to_string())
    };
    assert!(address("vm.test").unwrap().starts_with("240.240."));
    assert!(address("dns.test").is_some());
    assert_eq!(address("*.wild.test"), None);
    assert_eq!(
        registry.by_host("*.wild.test")[0].resolution,
        Resolution::Passthrough
    );
}

#[test]
fn exported_services_are_seen_where_they_are_exported_to() {
    let mut hidden = service("hidden", json!({"ports": [{"name": "http", "port": 80}]}));
    hidden["metadata"]["annotations"] = json!({"networking.istio.io/exportTo": ".,friend"});
    let registry = registry(&[hidden]);
    let visibility = &registry.by_host("hidden.default.svc.cluster.local")[0].visibility;
    assert!(visibility.includes("default") && visibility.includes("friend"));
    assert!(!visibility.includes("stranger"));
    assert!(
        registry
            .resolve("hidden.default.svc.cluster.local", "stranger")
            .is_none()
    );
}

#[test]
fn an_external_name_is_reached_by_its_name() {
    let registry = registry(&[service(
        "ext",
        json!({
            "type": "ExternalName", "externalName": "example.test",
            "ports": [{"name": "http", "port": 80}]
        }),
    )]);
    let host = "ext.default.svc.cluster.local";
    assert_eq!(endpoints(&registry, host, 80), ["example.test:80"]);
    assert!(registry.by_host(host)[0].address(true).is_some());
}

#[test]
fn service_entries_that_stay_keep_their_services() {
    let entry = |name: &str, port: u16, addresses: Value| {
        let entry = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "hosts": [format!("{name}.test")], "resolution": "STATIC", "addresses": addresses,
                "ports": [{"number": port, "name": "http", "protocol": "HTTP"}],
                "endpoints": [{"address": "10.5.0.1"}]
            }
        });
        meltemi_api::decode(&entry, "default").unwrap()
    };
    let stays = entry("stays", 80, json!(["10.6.0.1"]));
    let gets = entry("gets", 80, json!([]));
    let settings = Settings::default();
    let objects = [stays.clone(), gets.clone(), entry("changes", 80, json!([]))];
    let before = Registry::build(&objects, &settings);
    let objects = [stays, gets, entry("changes", 81, json!([]))];
    let now = Registry::next(&objects, &settings, &before);
    assert_eq!(
        now.services(),
        Registry::build(&objects, &settings).services()
    );
    let is_same = |host: &str| Arc::ptr_eq(&now.by_host(host)[0], &before.by_host(host)[0]);
    assert!(is_same("stays.test"));
    assert!(!is_same("changes.test"));
    let addresses = |registry: &Registry| registry.by_host("gets.test")[0].auto_address;
    assert_eq!(addresses(&now), addresses(&before));
    let other = Settings {
        default_export: vec![".".to_owned()],
        ..settings
    };
    let now = Registry::next(&objects, &other, &before);
    assert_eq!(now.services(), Registry::build(&objects, &other).services());
}
