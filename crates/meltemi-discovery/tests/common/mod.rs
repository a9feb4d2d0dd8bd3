//! What the tests of translation share: objects from YAML, the cluster in which istiod's output
//! was captured, and proxies in it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use meltemi_api::Object;
use meltemi_config::yaml;
use meltemi_discovery::{Flavor, Proxy, ProxyKind, Resources, World, WorldOptions, translate};
use meltemi_registry::Locality;
use serde_json::Value;

/// Data that lies beside the repository; `None` (and a line that says so) where it is missing.
pub fn shared(path: &str) -> Option<PathBuf> {
    let full = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(path);
    if full.exists() {
        return Some(full);
    }
    println!("skipped: {} not found", full.display());
    None
}

/// The objects of a YAML text.
pub fn objects(text: &str) -> Vec<Object> {
    yaml_values(text)
        .iter()
        .map(|value| match meltemi_api::decode(value, "default") {
            Ok(object) => object,
            Err(error) => panic!("{error}: {value}"),
        })
        .collect()
}

pub fn read(path: &Path) -> Vec<Object> {
    objects(&std::fs::read_to_string(path).unwrap())
}

fn yaml_values(text: &str) -> Vec<Value> {
    yaml::parse(text.as_bytes())
        .into_iter()
        .map(|document| document.unwrap().root.to_value())
        .filter(|value| !value.is_null())
        .collect()
}

pub fn world(objects: &[Object]) -> World {
    World::build(objects, &WorldOptions::default(), 1)
}

/// A proxy as the agent of a workload announces it.
pub fn proxy(kind: ProxyKind, pod: &str, ip: &str, labels: &[(&str, &str)]) -> Proxy {
    let namespace = match kind {
        ProxyKind::Sidecar => "default",
        ProxyKind::Gateway => "istio-system",
    };
    let labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Proxy {
        kind,
        flavor: Flavor::Meltemi,
        id: format!("{pod}.{namespace}"),
        pod: pod.to_owned(),
        namespace: namespace.to_owned(),
        dns_domain: format!("{namespace}.svc.cluster.local"),
        ips: vec![ip.parse().unwrap()],
        labels,
        service_account: "default".to_owned(),
        workload_name: pod.to_owned(),
        cluster: format!("{pod}.{namespace}"),
        cluster_id: "Kubernetes".to_owned(),
        mesh_id: "cluster.local".to_owned(),
        locality: Locality::default(),
        network: String::new(),
        discovers_hosts: false,
        dns_capture: true,
        intercepts: true,
        tproxy: false,
        loopback: None,
    }
}

/// A Pod with an address, ready.
pub fn pod(name: &str, namespace: &str, ip: &str, account: &str, labels: &str) -> String {
    let owner = name.trim_end_matches("-x");
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}, ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: {owner}, uid: x, controller: true}}]}}\n\
         spec: {{serviceAccountName: {account}, containers: [{{name: app, image: x}}]}}\n\
         status: {{phase: Running, podIP: {ip}, conditions: [{{type: Ready, status: \"True\"}}]}}\n"
    )
}

/// The cluster that istiod served when its output was captured: bookinfo, httpbin, two gateways.
pub fn captured_cluster() -> Option<Vec<Object>> {
    let mut all = read(&shared(
        "istio-samples/bookinfo/platform/kube/bookinfo.yaml",
    )?);
    all.extend(read(&shared("istio-samples/httpbin/httpbin.yaml")?));
    all.extend(read(&shared("istiod-xds/gateways.yaml")?));
    let mut text = String::from(
        "apiVersion: v1\nkind: Service\nmetadata: {name: kubernetes}\nspec: {clusterIP: 10.252.0.1, ports: [{name: https, port: 443, targetPort: 16444}]}\n\
         ---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: kubernetes}\nsubsets: [{addresses: [{ip: 10.250.0.1}], ports: [{name: https, port: 16444}]}]\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {name: kube-dns, namespace: kube-system}\nspec: {clusterIP: 10.252.0.10, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]}\n\
         ---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: kube-dns, namespace: kube-system}\nsubsets: [{addresses: [{ip: 10.250.0.1}], ports: [{name: dns-tcp, port: 53}]}]\n\
         ---\napiVersion: mesh.istio.io/v1alpha1\nkind: MeshConfig\nmetadata: {name: istio, namespace: istio-system}\nspec: {accessLogFile: /dev/stdout}\n",
    );
    for (name, ip, account, labels) in [
        (
            "details-v1-x",
            "10.251.0.2",
            "bookinfo-details",
            "app: details, version: v1",
        ),
        (
            "ratings-v1-x",
            "10.251.0.3",
            "bookinfo-ratings",
            "app: ratings, version: v1",
        ),
        (
            "reviews-v1-x",
            "10.251.0.4",
            "bookinfo-reviews",
            "app: reviews, version: v1",
        ),
        (
            "reviews-v3-x",
            "10.251.0.5",
            "bookinfo-reviews",
            "app: reviews, version: v3",
        ),
        (
            "reviews-v2-x",
            "10.251.0.6",
            "bookinfo-reviews",
            "app: reviews, version: v2",
        ),
        (
            "productpage-v1-x",
            "10.251.0.7",
            "bookinfo-productpage",
            "app: productpage, version: v1",
        ),
        (
            "httpbin-x",
            "10.251.0.10",
            "httpbin",
            "app: httpbin, version: v1",
        ),
    ] {
        // As captured: nothing was injected into the Pods.
        let labels = format!("{labels}, security.istio.io/tlsMode: disabled");
        text.push_str(&pod(name, "default", ip, account, &labels));
    }
    for (name, ip) in [
        ("ingressgateway", "10.251.0.8"),
        ("egressgateway", "10.251.0.9"),
    ] {
        let labels =
            format!("app: istio-{name}, istio: {name}, security.istio.io/tlsMode: disabled");
        text.push_str(&pod(
            &format!("istio-{name}-x"),
            "istio-system",
            ip,
            "default",
            &labels,
        ));
    }
    all.extend(objects(&text));
    set_cluster_ips(&mut all);
    Some(all)
}

/// The captured cluster's addresses.
fn set_cluster_ips(objects: &mut [Object]) {
    let known = BTreeMap::from([
        ("details", "10.252.174.197"),
        ("httpbin", "10.252.159.161"),
        ("istio-egressgateway", "10.252.237.228"),
        ("istio-ingressgateway", "10.252.128.190"),
        ("productpage", "10.252.58.138"),
        ("ratings", "10.252.11.242"),
        ("reviews", "10.252.46.217"),
    ]);
    for object in objects {
        if let meltemi_api::Spec::Service(service) = &mut object.spec
            && let Some(ip) = known.get(object.meta.name.as_str())
        {
            let service = std::sync::Arc::make_mut(service);
            service.spec.get_or_insert_default().cluster_ip = Some((*ip).to_owned());
        }
    }
}

/// The proxies whose configuration was captured.
pub fn captured_proxy(name: &str) -> Proxy {
    let sidecar = |pod: &str, ip: &str, app: &str| {
        proxy(
            ProxyKind::Sidecar,
            pod,
            ip,
            &[("app", app), ("version", "v1")],
        )
    };
    match name {
        "productpage-v1" => sidecar("productpage-v1-x", "10.251.0.7", "productpage"),
        "reviews-v1" => sidecar("reviews-v1-x", "10.251.0.4", "reviews"),
        "ratings-v1" => sidecar("ratings-v1-x", "10.251.0.3", "ratings"),
        "ingressgateway" | "egressgateway" => proxy(
            ProxyKind::Gateway,
            &format!("istio-{name}-x"),
            if name == "ingressgateway" {
                "10.251.0.8"
            } else {
                "10.251.0.9"
            },
            &[("app", &format!("istio-{name}")), ("istio", name)],
        ),
        other => panic!("no captured proxy {other}"),
    }
}

/// Everything as JSON, in the form of istiod's captured responses: type to resources.
pub fn json(resources: &Resources) -> BTreeMap<&'static str, Vec<Value>> {
    fn all<M: prost::Message + prost::Name>(messages: &[M]) -> Vec<Value> {
        messages
            .iter()
            .map(|message| meltemi_discovery::pb::descriptor::to_json(message).unwrap())
            .collect()
    }
    BTreeMap::from([
        ("cds", all(&resources.clusters)),
        ("eds", all(&resources.endpoints)),
        ("lds", all(&resources.listeners)),
        ("rds", all(&resources.routes)),
        ("nds", all(std::slice::from_ref(&resources.name_table))),
        ("sds", all(&resources.secrets)),
    ])
}

pub fn translated(objects: &[Object], proxy: &Proxy) -> Resources {
    translate(&world(objects), proxy)
}
