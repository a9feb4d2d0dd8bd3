//! Several objects that speak about the same calls: which of them decides.

// The configuration that allows it in tests does not see helper functions.
#![allow(clippy::unwrap_used)]

use meltemi_config::read_once;
use meltemi_simulation::{Mesh, Request, Verdict};

fn ask(configuration: &str, from: &str, url: &str) -> Verdict {
    let published = read_once(&[], &[("test.yaml".into(), configuration.to_owned())]);
    assert!(published.errors.is_empty(), "{:?}", published.errors);
    let mesh = Mesh::new(published.objects);
    let request = Request {
        url: url.to_owned(),
        ..Request::default()
    };
    let journey = mesh.follow(&mesh.proxy(from).unwrap(), &request).unwrap();
    journey.hops.into_iter().next().unwrap().verdict
}

fn virtual_service(name: &str, created: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: {name}, creationTimestamp: \"{created}-01-01T00:00:00Z\"}}\nspec:\n{rest}"
    )
}

const SERVICES: &str = "apiVersion: v1
kind: Service
metadata: {name: a}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: b}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec: {containers: [{name: app, image: x}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gateway}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: ['*']
";

fn rule(verdict: &Verdict) -> String {
    verdict.rule.as_ref().unwrap().to_string()
}

#[test]
fn on_a_gateway_the_routes_of_all_objects_count_and_what_takes_everything_comes_last() {
    let to = |name: &str| format!("    route: [{{destination: {{host: {name}}}}}]\n");
    let older = virtual_service(
        "older",
        "2020",
        &format!(
            "  hosts: [example.com]\n  gateways: [gateway]\n  http:\n  - name: all\n{}",
            to("a")
        ),
    );
    let newer = virtual_service(
        "newer",
        "2021",
        &format!(
            "  hosts: [example.com]\n  gateways: [gateway]\n  http:\n  - match: [{{uri: {{prefix: /b}}}}]\n{}",
            to("b")
        ),
    );
    let all = format!("{SERVICES}{older}{newer}");
    let gateway = "istio-ingressgateway";
    let special = ask(&all, gateway, "http://example.com:8080/b/1");
    assert_eq!(
        rule(&special),
        "VirtualService default/newer spec.http[0].match[0]"
    );
    let rest = ask(&all, gateway, "http://example.com:8080/");
    assert_eq!(rule(&rest), "VirtualService default/older spec.http[0]");
}

#[test]
fn in_the_mesh_the_oldest_object_of_a_host_decides_alone() {
    let only = |name: &str, created: &str, path: &str| {
        virtual_service(
            name,
            created,
            &format!(
                "  hosts: [a]\n  http:\n  - match: [{{uri: {{prefix: {path}}}}}]\n    route: [{{destination: {{host: b}}}}]\n"
            ),
        )
    };
    let all = format!(
        "{SERVICES}{}{}",
        only("newer", "2021", "/"),
        only("older", "2020", "/x")
    );
    let taken = ask(&all, "client", "http://a/x");
    assert_eq!(
        rule(&taken),
        "VirtualService default/older spec.http[0].match[0]"
    );
    let refused = ask(&all, "client", "http://a/");
    assert_eq!(
        refused.refusal.map(|refusal| refusal.code()),
        Some("no_route")
    );
}

#[test]
fn a_delegates_rule_is_named_and_not_the_place_that_delegates() {
    let root = virtual_service(
        "root",
        "2020",
        "  hosts: [a]\n  http:\n  - match: [{uri: {prefix: /d}}]\n    delegate: {name: part}\n  - route: [{destination: {host: a}}]\n",
    );
    let part = virtual_service(
        "part",
        "2020",
        "  http:\n  - match: [{uri: {prefix: /d/special}}]\n    route: [{destination: {host: b}}]\n  - route: [{destination: {host: a}}]\n",
    );
    let all = format!("{SERVICES}{root}{part}");
    let special = ask(&all, "client", "http://a/d/special");
    assert_eq!(rule(&special), "VirtualService default/part spec.http[0]");
    assert_eq!(
        special.cluster(),
        Some("outbound|80||b.default.svc.cluster.local")
    );
    let other = ask(&all, "client", "http://a/d/other");
    assert_eq!(rule(&other), "VirtualService default/part spec.http[1]");
    let outside = ask(&all, "client", "http://a/");
    assert_eq!(rule(&outside), "VirtualService default/root spec.http[1]");
}

#[test]
fn every_address_of_a_service_entry_is_the_services() {
    let entry = "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: database}
spec:
  hosts: [database.example.com]
  addresses: [10.1.0.1, 10.1.0.2, 10.2.0.0/16]
  ports: [{number: 3306, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 192.0.2.7}]
";
    let all = format!("{SERVICES}{entry}");
    for address in ["10.1.0.1", "10.1.0.2", "10.2.3.4"] {
        let verdict = ask(&all, "client", &format!("tcp://{address}:3306"));
        assert_eq!(
            verdict.cluster(),
            Some("outbound|3306||database.example.com"),
            "{address}"
        );
    }
    let other = ask(&all, "client", "tcp://10.1.0.3:3306");
    assert_eq!(other.cluster(), Some("PassthroughCluster"));
}
