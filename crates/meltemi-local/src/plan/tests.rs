use super::*;
use k8s_openapi::api::core::v1::Container;
use meltemi_api::{Object, decode};
use std::net::Ipv4Addr;
use std::path::Path;

fn objects(documents: &[serde_json::Value]) -> Objects {
    let decoded = documents.iter().map(|value| {
        let object: Object = decode(value, "default").unwrap();
        Arc::new(object)
    });
    Objects::new(1, decoded)
}

fn settings(images: serde_json::Value) -> LocalMesh {
    serde_json::from_value(
        json!({"apiVersion": "meltemi.dev/v1alpha1", "kind": "LocalMesh", "images": images}),
    )
    .unwrap()
}

fn deployment(replicas: u32, image: &str) -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "reviews-v1"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "reviews"}},
            "template": {
                "metadata": {"labels": {"app": "reviews", "version": "v1"}},
                "spec": {"serviceAccountName": "bookinfo-reviews", "containers": [{"name": "reviews", "image": image}]},
            },
        },
    })
}

#[test]
fn replicas_keep_their_names_and_templates_change_them() {
    let settings = settings(json!([{"image": "*", "command": ["true"]}]));
    let names = |document: serde_json::Value, settings: &LocalMesh| -> Vec<String> {
        pods(&objects(&[document]), settings)
            .iter()
            .map(|plan| plan.name.clone())
            .collect()
    };
    let two = names(deployment(2, "a"), &settings);
    assert_eq!(two.len(), 2);
    assert_ne!(two[0], two[1]);
    assert!(two[0].starts_with("reviews-v1-"));
    assert_eq!(names(deployment(1, "a"), &settings), two[..1]);
    assert_ne!(names(deployment(1, "b"), &settings)[0], two[0]);
    let other = serde_json::from_value(
        json!({"apiVersion": "meltemi.dev/v1alpha1", "kind": "LocalMesh", "images": [{"image": "*", "command": ["false"]}]}),
    )
    .unwrap();
    assert_ne!(
        names(deployment(1, "a"), &other)[0],
        two[0],
        "another command is another pod"
    );
}

#[test]
fn pods_carry_what_injection_adds() {
    let plans = pods(&objects(&[deployment(1, "a")]), &settings(json!([])));
    let plan = &plans[0];
    assert_eq!(
        (plan.workload(), plan.service_account()),
        ("reviews-v1", "bookinfo-reviews")
    );
    for (label, value) in [
        ("service.istio.io/canonical-name", "reviews"),
        ("service.istio.io/canonical-revision", "v1"),
        ("security.istio.io/tlsMode", "istio"),
    ] {
        assert_eq!(plan.labels.get(label).map(String::as_str), Some(value));
    }
    assert_eq!(plan.labels["pod-template-hash"], plan.hash[..10]);
    assert_eq!(plan.kind, PodKind::Application { sidecar: true });
}

#[test]
fn stateful_sets_count_and_pods_may_refuse_a_sidecar() {
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {
            "replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "db", "image": "db"}]}},
        },
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "plain", "labels": {"sidecar.istio.io/inject": "false"}},
        "spec": {"containers": [{"name": "one", "image": "x"}]},
    });
    let plans = pods(&objects(&[set, pod]), &settings(json!([])));
    let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
    assert_eq!(names, ["db-0", "db-1", "plain"]);
    assert_eq!(plans[1].spec.subdomain.as_deref(), Some("db"));
    assert_eq!(plans[2].kind, PodKind::Application { sidecar: false });
    assert!(!plans[2].labels.contains_key("security.istio.io/tlsMode"));
}

fn container(value: serde_json::Value) -> Container {
    serde_json::from_value(value).unwrap()
}

#[test]
fn commands_override_as_in_kubernetes() {
    let settings = settings(json!([{
        "image": "*curl*", "command": ["meltemi", "sample"], "args": ["sleep"], "env": {"A": "1"}, "workingDir": "src", "port": 8080,
    }]));
    let argv = |value: serde_json::Value| {
        resolve(
            &container(value),
            &settings,
            Path::new("/mesh"),
            Path::new("/bin/own"),
        )
        .map(|command| command.argv)
    };
    assert_eq!(
        argv(json!({"name": "c", "image": "x/curl:1"})).unwrap(),
        ["/bin/own", "sample", "sleep"]
    );
    assert_eq!(
        argv(json!({"name": "c", "image": "curl", "args": ["echo", "x"]})).unwrap(),
        ["/bin/own", "sample", "echo", "x"]
    );
    assert_eq!(
        argv(json!({"name": "c", "image": "curl", "command": ["/bin/sleep", "1"]})).unwrap(),
        ["/bin/sleep", "1"]
    );
    assert_eq!(
        argv(json!({"name": "c", "image": "none", "command": ["/bin/sleep"]})).unwrap(),
        ["/bin/sleep"]
    );
    let error = argv(json!({"name": "c", "image": "none:1"}))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("none:1") && error.contains("meltemi.yaml"),
        "{error}"
    );
    let command = resolve(
        &container(json!({"name": "c", "image": "curl"})),
        &settings,
        Path::new("/mesh"),
        Path::new("m"),
    )
    .unwrap();
    assert_eq!(command.cwd, Path::new("/mesh/src"));
    assert_eq!(
        command.env,
        [("A".into(), "1".into()), ("PORT".into(), "8080".into())]
    );
}

#[test]
fn the_environment_refers_and_expands() {
    let objects = objects(&[
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"MODE": "fast", "LEVEL": "3"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}, "data": {"token": "aHVzaA=="}}),
        deployment(1, "a"),
    ]);
    let plans = pods(&objects, &settings(json!([])));
    let facts = PodFacts {
        plan: &plans[0],
        address: Ipv4Addr::new(10, 98, 1, 2),
    };
    let image = [
        ("PATH".to_owned(), "/bin".to_owned()),
        ("LEVEL".to_owned(), "0".to_owned()),
    ];
    let make = |value: serde_json::Value| environment(&container(value), &image, &facts, &objects);
    let variables = make(json!({
        "name": "c",
        "envFrom": [{"configMapRef": {"name": "config"}}, {"secretRef": {"name": "none", "optional": true}}],
        "env": [
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "token"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "URL", "value": "http://$(IP)/$(MODE)/$(UNKNOWN)/$$(IP)"},
        ],
    }))
    .unwrap();
    let get = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    for (name, value) in [
        ("PATH", "/bin"),
        ("LEVEL", "3"),
        ("TOKEN", "hush"),
        ("IP", "10.98.1.2"),
        ("APP", "reviews"),
        ("URL", "http://10.98.1.2/fast/$(UNKNOWN)/$(IP)"),
    ] {
        assert_eq!(get(name), Some(value), "{name}");
    }
    let error = make(
        json!({"name": "c", "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "NO"}}}]}),
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("config has no key NO")
    );
    let error = make(json!({"name": "c", "envFrom": [{"secretRef": {"name": "none"}}]}));
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("no Secret default/none")
    );
    let error = make(
        json!({"name": "c", "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}),
    );
    assert!(error.unwrap_err().to_string().contains("spec.x"));
}
