//! Whatever a user writes is honoured, refused, or reported by name.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use meltemi_api::{Severity, check, decode};
use serde_json::{Value, json};

fn said(value: &Value) -> Vec<(Severity, String, String)> {
    let object = decode(value, "default").unwrap();
    check(value, &object)
        .into_iter()
        .map(|f| {
            (
                f.severity,
                f.path.to_string(),
                format!("{}; {}", f.message, f.remedy),
            )
        })
        .collect()
}

#[test]
fn fields_without_effect_are_reported_by_path() {
    let rule = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "r"},
        "spec": {
            "host": "reviews",
            "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}, "retryBudget": {"budgetInterval": "5s"}},
            "subsets": [{"name": "v1", "trafficPolicy": {"retryBudget": {"budgetInterval": "5s"}}}],
        },
    });
    let paths: Vec<String> = said(&rule).into_iter().map(|(_, path, _)| path).collect();
    assert_eq!(
        paths,
        [
            "spec.trafficPolicy.retryBudget.budgetInterval",
            "spec.subsets[0].trafficPolicy.retryBudget.budgetInterval"
        ]
    );
}

#[test]
fn a_deployments_harmless_rest_is_info_and_the_unknown_is_told() {
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {
                    "hostNetwork": true,
                    "containers": [{
                        "name": "c",
                        "image": "i",
                        "imagePullPolicy": "Always",
                        "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
                        "comand": ["x"],
                        "ports": [{"containerPort": 9080}],
                    }],
                },
            },
        },
    });
    let said = said(&deployment);
    let container = "spec.template.spec.containers[0]";
    let find = |path: String| said.iter().find(|(_, p, _)| *p == path).unwrap().clone();
    assert_eq!(
        find(format!("{container}.imagePullPolicy")).0,
        Severity::Info
    );
    assert_eq!(find(format!("{container}.resources")).0, Severity::Info);
    assert_eq!(
        find("spec.template.spec.hostNetwork".into()).0,
        Severity::Notice
    );
    let unknown = find(format!("{container}.comand"));
    assert!(
        unknown.2.contains("did you mean \"command\""),
        "{unknown:?}"
    );
    assert_eq!(
        said.iter()
            .filter(|(_, p, _)| p.ends_with("comand"))
            .count(),
        1,
        "{said:?}"
    );
}

#[test]
fn policies_are_refused_and_other_kinds_reported() {
    let object = |group: &str, kind: &str| json!({"apiVersion": group, "kind": kind, "metadata": {"name": "x"}, "spec": {}});
    for kind in ["AuthorizationPolicy", "RequestAuthentication"] {
        assert_eq!(
            said(&object("security.istio.io/v1", kind))[0].0,
            Severity::Unsupported
        );
    }
    let backend_tls = object("gateway.networking.k8s.io/v1", "BackendTLSPolicy");
    assert_eq!(said(&backend_tls)[0].0, Severity::Unsupported);
    for (group, kind) in [
        ("networking.istio.io/v1alpha3", "EnvoyFilter"),
        ("extensions.istio.io/v1alpha1", "WasmPlugin"),
        ("gateway.networking.k8s.io/v1", "UDPRoute"),
    ] {
        assert_eq!(said(&object(group, kind))[0].0, Severity::Notice, "{kind}");
    }
}

#[test]
fn of_a_telemetry_the_metrics_are_reported() {
    let telemetry = json!({
        "apiVersion": "telemetry.istio.io/v1",
        "kind": "Telemetry",
        "metadata": {"name": "x"},
        "spec": {"tracing": [{"randomSamplingPercentage": 1}], "metrics": [{"reportingInterval": "5s"}]},
    });
    let said = said(&telemetry);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0, Severity::Notice);
}

#[test]
fn errors_name_the_field_and_the_remedy() {
    let mut service = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "r"},
        "spec": {"hosts": ["r"], "http": [{"route": [{"destination": {"host": "r"}, "wieght": 3}]}]},
    });
    let error = decode(&service, "default").unwrap_err();
    assert_eq!(error.path.to_string(), "spec.http[0].route[0].wieght");
    assert!(error.remedy.contains("did you mean \"weight\""), "{error}");
    service["spec"]["http"][0]["route"][0] = json!({"destination": {"host": "r"}, "weight": "3"});
    let error = decode(&service, "default").unwrap_err();
    assert_eq!(error.path.to_string(), "spec.http[0].route[0].weight");
    service["spec"]["http"][0] = json!({"timeout": "5", "route": [{"destination": {"host": "r"}}]});
    let error = decode(&service, "default").unwrap_err();
    assert!(error.to_string().contains("5s"), "{error}");
}

#[test]
fn an_object_reads_back_as_it_was_written() {
    let object = json!({
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": "r", "namespace": "n", "labels": {"a": "b"}},
        "spec": {
            "hosts": ["r"],
            "http": [{
                "match": [{"uri": {"prefix": "/x"}, "headers": {"end-user": {"exact": "jason"}, "x": {}}}],
                "route": [{"destination": {"host": "r", "subset": "v2"}, "weight": 10}],
                "timeout": "0.5s",
                "fault": {"delay": {"fixedDelay": "7s", "percentage": {"value": 0.1}}},
                "directResponse": {"status": 200, "body": {"bytes": "aGk="}},
            }],
        },
    });
    let read = decode(&object, "default").unwrap();
    assert_eq!(read.to_value(), object);
    assert_eq!(decode(&read.to_value(), "default").unwrap().spec, read.spec);
}

#[test]
fn what_a_pod_is_run_with_is_honoured_for_init_containers_and_stateful_sets_too() {
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "s"},
        "spec": {
            "serviceName": "s",
            "ordinals": {"start": 3},
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "s"}},
            "template": {
                "metadata": {"labels": {"app": "s"}},
                "spec": {
                    "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
                    "initContainers": [{
                        "name": "i",
                        "image": "i",
                        "command": ["true"],
                        "restartPolicy": "Always",
                    }],
                    "containers": [{
                        "name": "c",
                        "image": "c",
                        "securityContext": {"runAsGroup": 7},
                        "lifecycle": {
                            "preStop": {"sleep": {"seconds": 1}},
                            "postStart": {"exec": {"command": ["true"]}},
                        },
                    }],
                },
            },
        },
    });
    let paths: Vec<String> = said(&set).into_iter().map(|(_, path, _)| path).collect();
    assert_eq!(
        paths,
        [
            "spec.template.spec.initContainers[0].restartPolicy",
            "spec.template.spec.containers[0].lifecycle.postStart",
        ]
    );
}

fn server(tls: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": "g", "namespace": "n"},
        "spec": {"servers": [{
            "port": {"number": 443, "name": "tls", "protocol": "TLS"}, "hosts": ["a.test"], "tls": tls,
        }]},
    })
}

#[test]
fn tls_settings_without_effect_and_lists_that_leave_nothing_are_told() {
    let mesh = |spec: Value| {
        json!({
            "apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig",
            "metadata": {"name": "istio", "namespace": "istio-system"}, "spec": spec,
        })
    };
    let tls = "spec.servers[0].tls";
    for (object, severity, field, part) in [
        (
            server(json!({"mode": "SIMPLE", "credentialName": "c", "subjectAltNames": ["a"]})),
            Severity::Warning,
            format!("{tls}.subjectAltNames"),
            "has no effect with SIMPLE",
        ),
        (
            server(json!({"mode": "PASSTHROUGH", "minProtocolVersion": "TLSV1_3"})),
            Severity::Warning,
            format!("{tls}.minProtocolVersion"),
            "has no effect with PASSTHROUGH",
        ),
        (
            server(json!({"mode": "ISTIO_MUTUAL", "cipherSuites": ["AES128-SHA"]})),
            Severity::Warning,
            format!("{tls}.cipherSuites"),
            "has no effect with ISTIO_MUTUAL",
        ),
        (
            server(
                json!({"mode": "MUTUAL", "credentialName": "c", "verifyCertificateSpki": ["x"]}),
            ),
            Severity::Error,
            format!("{tls}.verifyCertificateSpki[0]"),
            "in base64",
        ),
        (
            mesh(json!({"meshMTLS": {"cipherSuites": ["AES128-SHA"]}})),
            Severity::Warning,
            "spec.meshMTLS.cipherSuites".to_owned(),
            "no suite that every proxy speaks",
        ),
        (
            mesh(json!({"tlsDefaults": {"ecdhCurves": ["P-521"]}})),
            Severity::Warning,
            "spec.tlsDefaults.ecdhCurves".to_owned(),
            "no group that every proxy speaks",
        ),
        (
            mesh(json!({"meshMTLS": {"minProtocolVersion": "TLSV1_1"}})),
            Severity::Warning,
            "spec.meshMTLS.minProtocolVersion".to_owned(),
            "TLS 1.2 and 1.3 alone",
        ),
    ] {
        let all = said(&object);
        let found = all.iter().any(|(level, at, message)| {
            *level == severity && *at == field && message.contains(part)
        });
        assert!(found, "{field}: {all:?}");
    }
}
