//! Where calls go by the Gateway API's objects and by Ingresses, and which of them decides.

// The configuration that allows it in tests does not see helper functions.
#![allow(clippy::unwrap_used)]

use meltemi_config::read_once;
use meltemi_discovery::Issue;
use meltemi_simulation::{Action, Mesh, Request, Verdict};
use serde_json::Value;

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {ports: [{name: http, port: 80}, {name: grpc, port: 90}]}
---
apiVersion: v1
kind: Service
metadata: {name: b}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: other}
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
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: istio
  listeners:
  - {name: any, port: 8080, protocol: HTTP}
  - {name: shop, port: 8080, protocol: HTTP, hostname: '*.shop.example', allowedRoutes: {namespaces: {from: All}}}
  - {name: tcp, port: 9000, protocol: TCP}
  - {name: tls, port: 9443, protocol: TLS, tls: {mode: Passthrough}}
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: none}]}}
";

const GATEWAY: &str = "istio-ingressgateway";

fn mesh(configuration: &str) -> Mesh {
    let text = format!("{SERVICES}---\n{configuration}");
    let published = read_once(&[], &[("test.yaml".into(), text)]);
    assert!(published.errors.is_empty(), "{:?}", published.errors);
    Mesh::new(published.objects)
}

fn ask(mesh: &Mesh, from: &str, url: &str, headers: &[(&str, &str)]) -> Verdict {
    let request = Request {
        url: url.to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Request::default()
    };
    let journey = mesh.follow(&mesh.proxy(from).unwrap(), &request).unwrap();
    journey.hops.into_iter().next().unwrap().verdict
}

/// Rule and cluster.
fn taken(verdict: &Verdict) -> (String, &str) {
    let rule = verdict.rule.as_ref().map(ToString::to_string);
    (rule.unwrap_or_default(), verdict.cluster().unwrap_or("-"))
}

fn cluster(name: &str, namespace: &str) -> String {
    format!("outbound|80||{name}.{namespace}.svc.cluster.local")
}

fn route(kind: &str, name: &str, spec: &str) -> String {
    let namespace = if name.starts_with("other-") {
        "other"
    } else {
        "default"
    };
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec:\n{spec}"
    )
}

fn status(mesh: &Mesh, kind: meltemi_api::Kind, name: &str) -> Value {
    let key = meltemi_api::ObjectKey::new(kind, "default", name);
    mesh.world().statuses[&key].clone()
}

fn issue<'a>(mesh: &'a Mesh, field: &str) -> &'a Issue {
    let issues = &mesh.world().issues;
    let found = issues.iter().find(|issue| issue.field == field);
    found.unwrap_or_else(|| panic!("{field} in {issues:#?}"))
}

#[test]
fn the_most_specific_match_wins_over_all_routes_of_a_host() {
    let older = route(
        "HTTPRoute",
        "older",
        "  parentRefs: [{name: gw, sectionName: any}]
  rules:
  - backendRefs: [{name: a, port: 80}]
  - matches: [{path: {value: /x/}}, {path: {type: Exact, value: /e}}]
    backendRefs: [{name: a, port: 80}]
",
    );
    let newer = route(
        "HTTPRoute",
        "newer",
        "  parentRefs: [{name: gw, sectionName: any}]
  rules:
  - matches: [{path: {value: /x/y}}, {path: {value: /x}, headers: [{name: Who, value: me}]}]
    backendRefs: [{name: b, port: 80}]
",
    );
    let mesh = mesh(&format!("{older}{newer}"));
    let (a, b) = (cluster("a", "default"), cluster("b", "default"));
    let to = |path: &str, headers: &[(&str, &str)]| {
        let verdict = ask(
            &mesh,
            GATEWAY,
            &format!("http://any.example:8080{path}"),
            headers,
        );
        let (rule, cluster) = taken(&verdict);
        (rule, cluster.to_owned())
    };
    let decides =
        |rule: &str, cluster: &String| (format!("HTTPRoute default/{rule}"), cluster.clone());
    let me = [("who", "me")];
    assert_eq!(
        to("/x/y/z", &[]),
        decides("newer spec.rules[0].matches[0]", &b)
    );
    assert_eq!(to("/x", &me), decides("newer spec.rules[0].matches[1]", &b));
    assert_eq!(
        to("/x/1", &[]),
        decides("older spec.rules[1].matches[0]", &a)
    );
    assert_eq!(to("/e", &[]), decides("older spec.rules[1].matches[1]", &a));
    // A prefix is whole segments.
    assert_eq!(to("/xx", &me), decides("older spec.rules[0]", &a));
}

#[test]
fn listeners_take_the_hosts_and_namespaces_they_allow() {
    let spec = "  parentRefs: [{name: gw, namespace: default}]
  hostnames: [far.shop.example, far.example]
  rules: [{backendRefs: [{name: far, port: 80}]}]
";
    let mesh = mesh(&route("HTTPRoute", "other-far", spec));
    let asked = |host: &str| ask(&mesh, GATEWAY, &format!("http://{host}:8080/"), &[]);
    assert_eq!(
        asked("far.shop.example").cluster(),
        Some(&*cluster("far", "other"))
    );
    let refusal = asked("far.example").refusal.unwrap();
    assert_eq!(refusal.code(), "no_virtual_host");
    let gateway = status(&mesh, meltemi_api::Kind::KubernetesGateway, "gw");
    let attached = |name: &str| {
        let listeners = gateway["listeners"].as_array().unwrap();
        let listener = listeners.iter().find(|listener| listener["name"] == name);
        listener.unwrap()["attachedRoutes"].as_u64().unwrap()
    };
    assert_eq!((attached("any"), attached("shop")), (0, 1), "{gateway:#}");
    assert_eq!(gateway["conditions"][1]["type"], "Programmed");
    assert_eq!(gateway["conditions"][1]["status"], "True", "{gateway:#}");
}

#[test]
fn a_listener_without_its_certificate_stays_closed_and_says_so() {
    let mesh = mesh("");
    let verdict = ask(&mesh, GATEWAY, "https://any.example:443/", &[]);
    assert_eq!(verdict.refusal.unwrap().code(), "no_listener");
    let told = issue(&mesh, "spec.listeners[4].tls.certificateRefs[0]");
    assert!(
        told.message.contains("there is no Secret default/none"),
        "{told:?}"
    );
    let gateway = status(&mesh, meltemi_api::Kind::KubernetesGateway, "gw");
    let conditions = &gateway["listeners"][4]["conditions"];
    assert_eq!(
        conditions[2]["reason"], "InvalidCertificateRef",
        "{gateway:#}"
    );
    assert_eq!(conditions[3]["status"], "False", "{gateway:#}");
}

#[test]
fn backends_of_other_namespaces_need_a_grant_at_gateways_only() {
    let spec = |parent: &str| {
        format!(
            "  parentRefs: [{parent}]\n  rules: [{{backendRefs: [{{name: far, namespace: other, port: 80}}]}}]\n"
        )
    };
    let routes = route("HTTPRoute", "in", &spec("{name: gw, sectionName: any}"))
        + &route(
            "HTTPRoute",
            "within",
            &spec("{group: '', kind: Service, name: a}"),
        );
    let grant = "---\napiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\n\
        metadata: {name: g, namespace: other}\nspec:\n  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]\n  to: [{group: '', kind: Service, name: far}]\n";
    let url = "http://any.example:8080/";
    let without = mesh(&routes);
    let refused = ask(&without, GATEWAY, url, &[]);
    assert_eq!(refused.refusal.as_ref().unwrap().code(), "no_cluster");
    let told = issue(&without, "spec.rules[0].backendRefs[0].namespace");
    assert_eq!(told.object.to_string(), "HTTPRoute default/in");
    let conditions =
        &status(&without, meltemi_api::Kind::HttpRoute, "in")["parents"][0]["conditions"];
    assert_eq!(conditions[1]["reason"], "RefNotPermitted", "{conditions:#}");
    let within = ask(&without, "client", "http://a/", &[]);
    assert_eq!(within.cluster(), Some(&*cluster("far", "other")));
    let with = mesh(&(routes + grant));
    assert_eq!(
        ask(&with, GATEWAY, url, &[]).cluster(),
        Some(&*cluster("far", "other"))
    );
}

#[test]
fn requests_without_a_backend_or_with_an_unknown_filter_get_500() {
    let spec = "  parentRefs: [{name: gw, sectionName: any}]
  rules:
  - matches: [{path: {value: /none}}]
    backendRefs: [{name: a, port: 80, weight: 0}]
  - matches: [{path: {value: /auth}}]
    filters: [{type: ExtensionRef, extensionRef: {group: x.io, kind: Auth, name: x}}]
    backendRefs: [{name: a, port: 80}]
";
    let mesh = mesh(&route("HTTPRoute", "r", spec));
    for path in ["/none", "/auth"] {
        let verdict = ask(&mesh, GATEWAY, &format!("http://x:8080{path}"), &[]);
        let Some(Action::Respond { status }) = verdict.action else {
            panic!("{path}: {verdict:?}")
        };
        assert_eq!(status, 500, "{path}");
    }
    let told = issue(&mesh, "spec.rules[1].filters[0]");
    assert!(
        told.message.contains("ExtensionRef is not supported"),
        "{told:?}"
    );
}

#[test]
fn redirections_keep_what_they_do_not_change() {
    let spec = "  parentRefs: [{name: gw, sectionName: any}]
  rules:
  - matches: [{path: {value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
  - filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: b.example, statusCode: 308}}]
";
    let mesh = mesh(&route("HTTPRoute", "r", spec));
    let to = |path: &str| {
        let verdict = ask(&mesh, GATEWAY, &format!("http://a.example:8080{path}"), &[]);
        let Some(Action::Redirect(redirect)) = verdict.action else {
            panic!("{path}: {verdict:?}")
        };
        redirect
    };
    let prefix = to("/old/x");
    assert_eq!(
        (prefix.status, prefix.port),
        (302, Some(8080)),
        "{prefix:?}"
    );
    // What follows the prefix, by an expression.
    assert_eq!(prefix.path.as_deref(), Some("/${2}"), "{prefix:?}");
    let scheme = to("/y");
    assert_eq!((scheme.status, scheme.port, scheme.path), (308, None, None));
    assert_eq!(scheme.scheme.as_deref(), Some("https"));
    assert_eq!(scheme.host.as_deref(), Some("b.example"));
}

#[test]
fn grpc_tcp_and_tls_routes() {
    let routes = route(
        "GRPCRoute",
        "g",
        "  parentRefs: [{name: gw, sectionName: any}]
  rules:
  - matches: [{method: {service: pkg.Svc, method: Do}}]
    backendRefs: [{name: a, port: 90}]
  - matches: [{method: {service: pkg.Svc}}]
    backendRefs: [{name: b, port: 80}]
",
    ) + &route(
        "TCPRoute",
        "t",
        "  parentRefs: [{name: gw}]\n  rules: [{backendRefs: [{name: a, port: 80}]}]\n",
    ) + &route(
        "TLSRoute",
        "s",
        "  parentRefs: [{name: gw}]\n  hostnames: [db.example]\n  rules: [{backendRefs: [{name: b, port: 80}]}]\n",
    );
    let mesh = mesh(&routes);
    let asked = |url: &str| {
        let verdict = ask(&mesh, GATEWAY, url, &[]);
        let (rule, cluster) = taken(&verdict);
        (rule, cluster.to_owned())
    };
    assert_eq!(
        asked("grpc://x:8080/pkg.Svc/Do"),
        (
            "GRPCRoute default/g spec.rules[0].matches[0]".to_owned(),
            "outbound|90||a.default.svc.cluster.local".to_owned()
        )
    );
    assert_eq!(
        asked("grpc://x:8080/pkg.Svc/Other").1,
        cluster("b", "default")
    );
    assert_eq!(
        asked("tcp://x:9000"),
        (
            "TCPRoute default/t spec.rules[0]".to_owned(),
            cluster("a", "default")
        )
    );
    assert_eq!(
        asked("tls://db.example:9443"),
        (
            "TLSRoute default/s spec.rules[0]".to_owned(),
            cluster("b", "default")
        )
    );
}

#[test]
fn a_consumers_route_has_precedence_over_the_producers_in_its_own_namespace() {
    let to = |port: &str, backend: &str| {
        format!(
            "  parentRefs: [{{group: '', kind: Service, name: far, namespace: other{port}}}]\n  rules: [{{backendRefs: [{backend}]}}]\n"
        )
    };
    let routes = route(
        "HTTPRoute",
        "other-producer",
        &to("", "{name: far, port: 80, weight: 0}"),
    ) + &route(
        "HTTPRoute",
        "consumer",
        &to(", port: 80", "{name: b, port: 80}"),
    );
    let verdict = ask(&mesh(&routes), "client", "http://far.other/", &[]);
    assert_eq!(verdict.cluster(), Some(&*cluster("b", "default")));
}

#[test]
fn parents_that_are_missing_or_not_ours_are_told_apart() {
    let gateway = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: foreign}\nspec:\n  gatewayClassName: nginx\n  listeners: [{name: http, port: 80, protocol: HTTP}]\n";
    let to = |parent: &str| {
        format!("  parentRefs: [{parent}]\n  rules: [{{backendRefs: [{{name: a, port: 80}}]}}]\n")
    };
    let mesh = mesh(
        &(gateway.to_owned()
            + &route("HTTPRoute", "theirs", &to("{name: foreign}"))
            + &route("HTTPRoute", "lost", &to("{name: missing}"))
            + &route(
                "HTTPRoute",
                "section",
                &to("{name: gw, sectionName: other}"),
            )),
    );
    let told = issue(&mesh, "spec.gatewayClassName");
    assert!(
        told.message.contains("class \"nginx\" is not this mesh's"),
        "{told:?}"
    );
    assert!(
        issue(&mesh, "spec.parentRefs[0].name")
            .message
            .contains("default/missing")
    );
    let listeners = issue(&mesh, "spec.parentRefs[0]");
    assert!(
        listeners.message.contains("it has any (port 8080)"),
        "{listeners:?}"
    );
    let issues = &mesh.world().issues;
    assert!(
        !issues.iter().any(|issue| issue.object.name == "theirs"),
        "{issues:?}"
    );
}

#[test]
fn ingresses_by_class_path_and_default() {
    let ingress = |name: &str, class: &str, spec: &str| {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}}}\nspec:\n  ingressClassName: {class}\n{spec}"
        )
    };
    let backend = |name: &str, port: &str| format!("{{service: {{name: {name}, port: {port}}}}}");
    let mesh = mesh(
        &(ingress(
            "mine",
            "istio",
            &format!(
                "  defaultBackend: {}\n  rules:\n  - host: '*.a.example'\n    http:\n      paths:\n      - {{path: /p, pathType: Prefix, backend: {}}}\n      - {{path: /p, pathType: Exact, backend: {}}}\n",
                backend("a", "{number: 80}"),
                backend("b", "{name: http}"),
                backend("a", "{name: grpc}")
            ),
        ) + &ingress(
            "theirs",
            "nginx",
            &format!("  defaultBackend: {}\n", backend("b", "{number: 80}")),
        )),
    );
    let asked = |url: &str| {
        let verdict = ask(&mesh, GATEWAY, url, &[]);
        let (rule, cluster) = taken(&verdict);
        (rule, cluster.to_owned())
    };
    let path = |position: u8| format!("Ingress default/mine spec.rules[0].http.paths[{position}]");
    let default = (
        "Ingress default/mine spec.defaultBackend".to_owned(),
        cluster("a", "default"),
    );
    assert_eq!(
        asked("http://x.a.example/p/1"),
        (path(0), cluster("b", "default"))
    );
    let grpc = "outbound|90||a.default.svc.cluster.local".to_owned();
    assert_eq!(asked("http://x.a.example/p"), (path(1), grpc));
    assert_eq!(asked("http://x.a.example/pp"), default);
    assert_eq!(asked("http://elsewhere/"), default);
    let told = issue(&mesh, "spec.ingressClassName");
    assert_eq!(told.object.to_string(), "Ingress default/theirs");
}

#[test]
fn a_gateway_has_the_workloads_that_were_deployed_for_it_or_that_it_names() {
    let workload = |name: &str, labels: &str| {
        format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  selector: {{matchLabels: {labels}}}\n  template:\n    metadata: {{labels: {labels}, annotations: {{inject.istio.io/templates: gateway}}}}\n    spec: {{containers: [{{name: istio-proxy, image: auto}}]}}\n"
        )
    };
    let gateway = |name: &str, address: &str| {
        format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n  gatewayClassName: istio\n{address}  listeners: [{{name: http, port: 7000, protocol: HTTP}}]\n"
        )
    };
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: edge}\nspec: {selector: {app: edge}, ports: [{name: http, port: 7000, targetPort: 7070}]}\n";
    let routes = route(
        "HTTPRoute",
        "r",
        "  parentRefs: [{name: own}, {name: named}]\n  rules: [{backendRefs: [{name: a, port: 80}]}]\n",
    );
    let mesh = mesh(
        &(workload("own-istio", "{gateway.networking.k8s.io/gateway-name: own}")
            + &workload("edge", "{app: edge}")
            + service
            + &gateway("own", "")
            + &gateway("named", "  addresses: [{type: Hostname, value: edge}]\n")
            + &routes),
    );
    let opens = |workload: &str, port: u16| {
        let verdict = ask(&mesh, workload, &format!("http://x:{port}/"), &[]);
        verdict.listener
    };
    assert_eq!(opens("own-istio", 7000).as_deref(), Some("0.0.0.0_7000"));
    assert_eq!(opens("edge", 7000).as_deref(), Some("0.0.0.0_7070"));
    assert_eq!(opens(GATEWAY, 7000), None);
    let named = status(&mesh, meltemi_api::Kind::KubernetesGateway, "named");
    assert_eq!(
        named["addresses"][0]["value"],
        "edge.default.svc.cluster.local"
    );
}

#[test]
fn connections_within_the_mesh() {
    let service = |name: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{name: tcp, port: 5432}}, {{name: tls, port: 8443}}]}}\n"
        )
    };
    let spec = |port: &str, rest: &str| {
        format!(
            "  parentRefs: [{{group: '', kind: Service, name: db, port: {port}}}]\n{rest}  rules: [{{backendRefs: [{{name: db-2, port: {port}}}]}}]\n"
        )
    };
    let names = "  hostnames: [db.default.svc.cluster.local]\n";
    let mesh = mesh(
        &(service("db")
            + &service("db-2")
            + &route("TCPRoute", "t", &spec("5432", ""))
            + &route("TLSRoute", "s", &spec("8443", names))),
    );
    for (url, port, rule) in [
        ("tcp://db:5432", 5432, "TCPRoute default/t spec.rules[0]"),
        (
            "tls://db.default.svc.cluster.local:8443",
            8443,
            "TLSRoute default/s spec.rules[0]",
        ),
    ] {
        let verdict = ask(&mesh, "client", url, &[]);
        let cluster = format!("outbound|{port}||db-2.default.svc.cluster.local");
        assert_eq!(taken(&verdict), (rule.to_owned(), cluster.as_str()));
    }
}

#[test]
fn listeners_of_one_port_speak_one_protocol_and_the_oldest_route_has_a_tcp_port() {
    let gateway = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: mixed}\nspec:\n  gatewayClassName: istio\n  listeners:\n  - {name: http, port: 8081, protocol: HTTP}\n  - {name: tcp, port: 8081, protocol: TCP}\n";
    let tcp = |name: &str, created: &str| {
        let spec = "  parentRefs: [{name: gw}]\n  rules: [{backendRefs: [{name: a, port: 80}]}]\n";
        route("TCPRoute", name, spec).replace(
            "namespace: default}",
            &format!("namespace: default, creationTimestamp: \"{created}-01-01T00:00:00Z\"}}"),
        )
    };
    let mesh = mesh(&(gateway.to_owned() + &tcp("late", "2021") + &tcp("early", "2020")));
    let conflict = issue(&mesh, "spec.listeners[1].protocol");
    assert!(
        conflict.message.contains("listener \"http\""),
        "{conflict:?}"
    );
    let late = issue(&mesh, "spec.parentRefs[0]");
    assert_eq!(late.object.to_string(), "TCPRoute default/late");
    let verdict = ask(&mesh, GATEWAY, "tcp://x:9000", &[]);
    assert_eq!(taken(&verdict).0, "TCPRoute default/early spec.rules[0]");
}
