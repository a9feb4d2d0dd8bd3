//! What Meltemi's proxy does not do is named, and nothing flows with less protection than was
//! asked for; no whole listener or cluster is refused because of it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use meltemi_discovery::{ProxyKind, Resources};

const SERVICES: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec:
  clusterIP: 10.99.0.7
  selector: {app: reviews}
  ports: [{name: http, port: 80}, {name: tcp-db, port: 3306}]
---
"#;

fn translated(kind: ProxyKind, text: &str) -> (Resources, Vec<(String, String)>) {
    let objects = common::objects(&format!("{SERVICES}{text}"));
    let world = common::world(&objects);
    let labels = match kind {
        ProxyKind::Sidecar => ("app", "client"),
        ProxyKind::Gateway => ("istio", "ingressgateway"),
    };
    let proxy = common::proxy(kind, "pod", "10.98.0.9", &[labels]);
    let resources = meltemi_discovery::translate(&world, &proxy);
    let issues = resources
        .issues
        .iter()
        .map(|issue| (issue.field.clone(), issue.message.clone()))
        .collect();
    (resources, issues)
}

fn rule(policy: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r, namespace: default}}\nspec: {{host: reviews.default.svc.cluster.local, trafficPolicy: {policy}}}\n"
    )
}

fn bytes_contain(resources: &Resources, text: &str) -> bool {
    let found = |bytes: &[u8]| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    let clusters = resources.clusters.iter().map(prost::Message::encode_to_vec);
    let listeners = resources
        .listeners
        .iter()
        .map(prost::Message::encode_to_vec);
    clusters.chain(listeners).any(|bytes| found(&bytes))
}

#[test]
fn destination_rules() {
    let cases = [(
        "{tls: {mode: SIMPLE, credentialName: c, caCrl: /etc/crl.pem}}",
        "tls.caCrl",
        "/etc/crl.pem",
    )];
    for (policy, field, absent) in cases {
        let (resources, issues) = translated(ProxyKind::Sidecar, &rule(policy));
        let wanted = format!("spec.trafficPolicy.{field}");
        assert!(
            issues
                .iter()
                .any(|(field, message)| *field == wanted && message.contains("not supported")),
            "{wanted} in {issues:?}"
        );
        assert!(!bytes_contain(&resources, absent), "{absent}");
    }
}

#[test]
fn proxy_protocol_tunnels_and_revocation_lists_of_files_are_served() {
    for (policy, present) in [
        (
            "{proxyProtocol: {version: V2}}",
            "ProxyProtocolUpstreamTransport",
        ),
        ("{tls: {mode: SIMPLE, caCrl: /etc/crl.pem}}", "/etc/crl.pem"),
        (
            "{tunnel: {protocol: CONNECT, targetHost: external, targetPort: 443}}",
            "external:443",
        ),
    ] {
        let (resources, issues) = translated(ProxyKind::Sidecar, &rule(policy));
        assert!(issues.is_empty(), "{issues:?}");
        assert!(bytes_contain(&resources, present), "{present}");
    }
    let text = GATEWAY.replace("FIELD", "caCrl: /crl");
    let (resources, issues) = translated(ProxyKind::Gateway, &text);
    let about = issues.iter().find(|(field, _)| field.ends_with("caCrl"));
    assert_eq!(about, None);
    assert!(bytes_contain(&resources, "/crl"));
}

const GATEWAY: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https-a, protocol: HTTPS}
    hosts: [a.example]
    tls: {mode: SIMPLE, credentialName: a}
  - port: {number: 443, name: https-b, protocol: HTTPS}
    hosts: [b.example]
    tls: {mode: MUTUAL, serverCertificate: /c, privateKey: /k, caCertificates: /ca, FIELD}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: istio-system}
spec:
  hosts: ["a.example", "b.example"]
  gateways: [g]
  http: [{route: [{destination: {host: reviews.default.svc.cluster.local, port: {number: 80}}}]}]
"#;

const HASH: &str = "df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a";
const KEY_HASH: &str = "NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=";

fn opened(resources: &Resources) -> Vec<String> {
    resources
        .listeners
        .iter()
        .flat_map(|listener| &listener.filter_chains)
        .filter_map(|chain| chain.filter_chain_match.as_ref())
        .flat_map(|wanted| wanted.server_names.clone())
        .collect()
}

#[test]
fn gateway_servers_that_cannot_keep_clients_out_stay_closed() {
    for (field, value) in [
        ("ecdhCurves", "[P-521]"),
        ("cipherSuites", "[nonsense]"),
        ("cipherSuites", "[AES128-SHA], maxProtocolVersion: TLSV1_2"),
        ("maxProtocolVersion", "TLSV1_1"),
    ] {
        let text = GATEWAY.replace("FIELD", &format!("{field}: {value}"));
        let (resources, issues) = translated(ProxyKind::Gateway, &text);
        let wanted = format!("tls.{field}");
        assert!(
            issues
                .iter()
                .any(|(field, message)| field.ends_with(&wanted)
                    && message.contains("refuses connections")),
            "{wanted} in {issues:?}"
        );
        assert_eq!(opened(&resources), ["a.example"], "{field}");
    }
}

#[test]
fn pinned_clients_and_groups_reach_the_proxy() {
    let fields = format!(
        "verifyCertificateHash: [{HASH}], verifyCertificateSpki: [{KEY_HASH:?}], ecdhCurves: [P-384, X25519, nonsense]"
    );
    let by_secret = GATEWAY.replace(
        "serverCertificate: /c, privateKey: /k, caCertificates: /ca",
        "credentialName: b",
    );
    for text in [GATEWAY, &by_secret] {
        let (resources, issues) = translated(ProxyKind::Gateway, &text.replace("FIELD", &fields));
        assert!(
            issues
                .iter()
                .all(|(field, _)| field.ends_with("credentialName")),
            "{issues:?}"
        );
        assert_eq!(opened(&resources), ["a.example", "b.example"]);
        for wanted in [HASH, KEY_HASH, "P-384", "X25519"] {
            assert!(bytes_contain(&resources, wanted), "{wanted}");
        }
        assert!(!bytes_contain(&resources, "nonsense"));
    }
}

#[test]
fn only_the_gateway_api_names_secrets_of_other_namespaces() {
    let other = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: other}\ndata: {tls.crt: Y2VydA==, tls.key: a2V5}\n";
    let named = GATEWAY.replace(", FIELD", "").replace(
        "credentialName: a}",
        "credentialName: kubernetes-gateway://other/s}",
    );
    let rule = rule("{tls: {mode: SIMPLE, credentialName: kubernetes-gateway://other/s}}");
    let all = format!("{named}{other}---\n{rule}");
    let (resources, issues) = translated(ProxyKind::Gateway, &all);
    assert!(resources.secrets.is_empty(), "{:?}", resources.secrets);
    let (_, told) = issues
        .iter()
        .find(|(field, _)| field == "spec.servers[0].tls.credentialName")
        .unwrap();
    assert!(told.contains("only a Gateway of the Gateway API"), "{told}");
    assert!(!bytes_contain(&resources, "a.example"));
}

#[test]
fn tls_to_unknown_hosts() {
    let issues = |policy: &str| -> Vec<(String, String)> {
        let text = format!(
            "apiVersion: mesh.istio.io/v1alpha1\nkind: MeshConfig\nmetadata: {{name: istio, namespace: istio-system}}\nspec: {{outboundTrafficPolicy: {policy}}}\n"
        );
        let world = common::world(&common::objects(&text));
        let issue = |issue: &meltemi_discovery::Issue| (issue.field.clone(), issue.message.clone());
        world.issues.iter().map(issue).collect()
    };
    assert_eq!(issues("{mode: ALLOW_ANY_DYNAMIC_DNS}"), []);
    let own = "{mode: ALLOW_ANY_DYNAMIC_DNS, tls: {mode: SIMPLE, caCertificates: /ca.pem}}";
    assert_eq!(issues(own), []);
    let cases = [
        (
            "{mode: ALLOW_ANY, tls: {mode: SIMPLE}}",
            "tls",
            "has no effect without mode ALLOW_ANY_DYNAMIC_DNS",
        ),
        (
            "{mode: ALLOW_ANY_DYNAMIC_DNS, tls: {mode: SIMPLE, credentialName: ca}}",
            "tls.credentialName",
            "sidecars get no Secret",
        ),
        (
            "{mode: ALLOW_ANY_DYNAMIC_DNS, tls: {mode: SIMPLE, sni: fixed.test}}",
            "tls.sni",
            "has no effect",
        ),
        (
            "{mode: ALLOW_ANY_DYNAMIC_DNS, tls: {mode: SIMPLE, insecureSkipVerify: true}}",
            "tls.insecureSkipVerify",
            "not verified",
        ),
    ];
    for (policy, field, message) in cases {
        let found = issues(policy);
        let [(at, said)] = &found[..] else {
            panic!("{policy}: {found:?}");
        };
        assert_eq!(*at, format!("spec.outboundTrafficPolicy.{field}"));
        assert!(said.contains(message), "{said}");
    }
}

/// Two TCP services at one address: the object that loses is named as it is written, not by its host.
#[test]
fn a_service_entry_is_named_as_it_is_written() {
    let entry = |name: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  hosts: [{name}.example.com]\n  addresses: [10.99.7.7]\n  ports: [{{number: 9000, name: tcp, protocol: TCP}}]\n  resolution: STATIC\n  endpoints: [{{address: 10.1.1.1}}]\n---\n"
        )
    };
    let text = entry("first") + &entry("second");
    let world = common::world(&common::objects(&text));
    let proxy = common::proxy(ProxyKind::Sidecar, "pod", "10.98.0.9", &[("app", "client")]);
    let issues = meltemi_discovery::translate(&world, &proxy).issues;
    let names: Vec<&str> = issues.iter().map(|issue| &*issue.object.name).collect();
    assert_eq!(names, ["second"], "{issues:?}");
}
