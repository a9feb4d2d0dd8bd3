//! The Gateway API's schemas and the API server's rules for Ingresses: what is refused, and where.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use meltemi_api::{Severity, check, decode};
use serde_json::{Value, json};

/// Paths of the errors about a spec.
fn wrong(api_version: &str, kind: &str, spec: Value) -> Vec<String> {
    let value = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "x"},
        "spec": spec,
    });
    let object = decode(&value, "default").unwrap_or_else(|error| panic!("{error}: {value}"));
    let findings = check(&value, &object).into_iter();
    let errors = findings.filter(|finding| finding.severity == Severity::Error);
    let said = errors.map(|finding| {
        assert!(!finding.remedy.is_empty(), "{finding:?}");
        finding.path.to_string()
    });
    said.collect()
}

fn gateway(listener: Value) -> Vec<String> {
    let mut whole = json!({"name": "l", "port": 80, "protocol": "HTTP"});
    for (name, value) in listener.as_object().unwrap() {
        whole[name] = value.clone();
    }
    let spec = json!({"gatewayClassName": "istio", "listeners": [whole]});
    let paths = wrong("gateway.networking.k8s.io/v1", "Gateway", spec);
    let within = |path: String| path.replace("spec.listeners[0].", "");
    paths.into_iter().map(within).collect()
}

fn http_rule(rule: Value) -> Vec<String> {
    let spec = json!({"parentRefs": [{"name": "g"}], "rules": [rule]});
    let paths = wrong("gateway.networking.k8s.io/v1", "HTTPRoute", spec);
    let within = |path: String| path.replace("spec.rules[0].", "");
    paths.into_iter().map(within).collect()
}

#[test]
fn listeners() {
    let none: [&str; 0] = [];
    let secret = json!([{"name": "s"}]);
    assert_eq!(gateway(json!({})), none);
    assert_eq!(gateway(json!({"hostname": "*.a.example"})), none);
    let https = json!({"protocol": "HTTPS", "tls": {"certificateRefs": secret}});
    assert_eq!(gateway(https), none);
    for (listener, path) in [
        (json!({"name": ""}), "name"),
        (json!({"port": 70000}), "port"),
        (json!({"protocol": "http"}), "protocol"),
        (json!({"hostname": "A.example"}), "hostname"),
        (json!({"hostname": "10.0.0.1"}), "hostname"),
        (
            json!({"protocol": "TCP", "hostname": "a.example"}),
            "hostname",
        ),
        (json!({"tls": {"certificateRefs": secret}}), "tls"),
        (json!({"protocol": "TLS"}), "tls"),
        (
            json!({"protocol": "HTTPS", "tls": {}}),
            "tls.certificateRefs",
        ),
        (
            json!({"protocol": "HTTPS", "tls": {"mode": "Passthrough"}}),
            "tls.mode",
        ),
        (
            json!({"allowedRoutes": {"namespaces": {"from": "Selector"}}}),
            "allowedRoutes.namespaces.selector",
        ),
    ] {
        assert_eq!(gateway(listener.clone()), [path], "{listener}");
    }
    let listener = json!({"name": "l", "port": 80, "protocol": "HTTP"});
    let spec = json!({"gatewayClassName": "istio", "listeners": [listener, listener]});
    assert_eq!(
        wrong("gateway.networking.k8s.io/v1beta1", "Gateway", spec),
        ["spec.listeners[1].name", "spec.listeners[1]"]
    );
}

#[test]
fn rules_of_http_routes() {
    let backend = json!([{"name": "a", "port": 80}]);
    let redirect = json!({"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}});
    let prefix = json!({"type": "URLRewrite", "urlRewrite":
        {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}});
    for (rule, path) in [
        (
            json!({"backendRefs": [{"name": "a"}]}),
            "backendRefs[0].port",
        ),
        (
            json!({"backendRefs": [{"name": "a", "port": 1, "weight": 1_000_001}]}),
            "backendRefs[0].weight",
        ),
        (
            json!({"matches": [{"path": {"value": "a"}}]}),
            "matches[0].path.value",
        ),
        (
            json!({"matches": [{"path": {"value": "/a//b"}}]}),
            "matches[0].path.value",
        ),
        (
            json!({"matches": [{"path": {"type": "RegularExpression", "value": "("}}]}),
            "matches[0].path.value",
        ),
        (json!({"matches": [{"method": "get"}]}), "matches[0].method"),
        (
            json!({"matches": [{"headers": [{"name": "a b", "value": "c"}]}]}),
            "matches[0].headers[0].name",
        ),
        (
            json!({"filters": [{"requestRedirect": {}}]}),
            "filters[0].type",
        ),
        (
            json!({"filters": [{"type": "RequestRedirect"}]}),
            "filters[0].requestRedirect",
        ),
        (json!({"filters": [redirect, redirect]}), "filters[1]"),
        (
            json!({"filters": [redirect], "backendRefs": backend}),
            "backendRefs",
        ),
        (
            json!({"filters": [prefix], "matches": [{"path": {"type": "Exact", "value": "/"}}]}),
            "matches",
        ),
        (
            json!({"timeouts": {"request": "1s", "backendRequest": "2s"}}),
            "timeouts.backendRequest",
        ),
        (json!({"retry": {"codes": [200]}}), "retry.codes[0]"),
    ] {
        assert_eq!(http_rule(rule.clone()), [path], "{rule}");
    }
    let right = json!({
        "matches": [{"path": {"value": "/a"}, "method": "GET"}],
        "filters": [prefix],
        "backendRefs": backend,
        "timeouts": {"request": "0s", "backendRequest": "2s"},
    });
    assert_eq!(http_rule(right), [""; 0]);
}

#[test]
fn filters_that_are_not_supported_are_told() {
    let value = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "x"},
        "spec": {"rules": [{"filters": [
            {"type": "ExtensionRef", "extensionRef": {"group": "g", "kind": "K", "name": "n"}}
        ]}]},
    });
    let object = decode(&value, "default").unwrap();
    let findings = check(&value, &object);
    let [finding] = &findings[..] else {
        panic!("{findings:?}")
    };
    assert_eq!(finding.severity, Severity::Notice);
    assert!(finding.message.contains("requests of this rule get 500"));
    assert_eq!(
        decode(&object.to_value(), "default").unwrap().spec,
        object.spec
    );
}

#[test]
fn other_routes_and_grants() {
    const V1: &str = "gateway.networking.k8s.io/v1";
    let rules = json!([{"backendRefs": [{"name": "a", "port": 80}]}]);
    for (kind, spec, path) in [
        (
            "GRPCRoute",
            json!({"rules": [{"matches": [{"method": {}}]}]}),
            "spec.rules[0].matches[0].method",
        ),
        ("TLSRoute", json!({"rules": rules}), "spec.hostnames"),
        ("TCPRoute", json!({}), "spec.rules"),
        (
            "ReferenceGrant",
            json!({"from": [{"group": "", "kind": "Service", "namespace": "n"}]}),
            "spec.to",
        ),
        (
            "GatewayClass",
            json!({"controllerName": "istio"}),
            "spec.controllerName",
        ),
        (
            "HTTPRoute",
            json!({"parentRefs": [{"name": "g"}, {"name": "g", "sectionName": "s"}]}),
            "spec.parentRefs[1]",
        ),
    ] {
        assert_eq!(wrong(V1, kind, spec.clone()), [path], "{kind} {spec}");
    }
    let alpha = "gateway.networking.k8s.io/v1alpha2";
    assert_eq!(wrong(alpha, "TLSRoute", json!({"rules": rules})), [""; 0]);
}

#[test]
fn ingresses() {
    let path = |path: Value| {
        let spec = json!({"rules": [{"http": {"paths": [path]}}]});
        wrong("networking.k8s.io/v1", "Ingress", spec)
    };
    let service = |port: Value| json!({"service": {"name": "a", "port": port}});
    let at = "spec.rules[0].http.paths[0]";
    let right =
        json!({"path": "/", "pathType": "Prefix", "backend": service(json!({"number": 80}))});
    assert_eq!(path(right.clone()), [""; 0]);
    for (name, value, field) in [
        ("pathType", json!("prefix"), "pathType"),
        ("path", json!("a"), "path"),
        ("backend", json!({}), "backend.service"),
        ("backend", service(json!({})), "backend.service.port"),
        (
            "backend",
            service(json!({"name": "http", "number": 80})),
            "backend.service.port.name",
        ),
    ] {
        let mut changed = right.clone();
        changed[name] = value;
        assert_eq!(
            path(changed.clone()),
            [format!("{at}.{field}")],
            "{changed}"
        );
    }
    assert_eq!(
        wrong("networking.k8s.io/v1", "Ingress", json!({})),
        ["spec"]
    );
}
