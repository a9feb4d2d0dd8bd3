//! Sidecar injection: what namespaces say, and pods that should have a sidecar and have none.

use meltemi_api::FieldPath;
use serde_json::Value;

use crate::code::{
    INJECTED_BY_DEFAULT, MULTIPLE_INJECTION_LABELS, NAMESPACE_NOT_INJECTED, POD_MISSING_PROXY,
};
use crate::injection::{DATAPLANE_MODE, INJECTION, REVISION, has_proxy, is_injected, own_choice};
use crate::report::at;
use crate::workload::pods;
use crate::{Analyzer, Index, Platform, Report, Resource};

pub struct Injection;

impl Analyzer for Injection {
    fn name(&self) -> &'static str {
        "injection.Analyzer"
    }

    fn about(&self) -> &'static str {
        "Checks the labels that decide about sidecar injection, and pods without sidecar"
    }

    fn by_default(&self, index: &Index) -> bool {
        index.platform == Platform::Kubernetes
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for namespace in index.kind("", "Namespace") {
            if namespace.name.name != index.system_namespace {
                labels(index, namespace, report);
            }
        }
        for pod in pods(index) {
            let injected = index
                .namespace_labels(pod.namespace())
                .is_some_and(is_injected);
            let declined =
                own_choice(&pod).is_some_and(|choice| choice.eq_ignore_ascii_case("false"));
            if !injected || declined || pod.spec.get("hostNetwork").is_true() || has_proxy(&pod) {
                continue;
            }
            report.add(
                &POD_MISSING_PROXY,
                pod.resource,
                at!(spec.containers),
                format!(
                    "the pod runs without sidecar although namespace {} is injected",
                    pod.namespace()
                ),
                "restart its workload, or label the pod sidecar.istio.io/inject=false",
            );
        }
    }
}

fn labels(index: &Index, namespace: &Resource, report: &mut Report) {
    let labels = &namespace.labels;
    let name = &namespace.name.name;
    let injection = labels.get(INJECTION).map(String::as_str);
    let ambient = labels
        .get(DATAPLANE_MODE)
        .is_some_and(|mode| mode == "ambient");
    let asked: Vec<(&str, String)> = [
        (injection == Some("enabled")).then(|| (INJECTION, "istio-injection=enabled".to_owned())),
        labels
            .get(REVISION)
            .filter(|_| injection != Some("disabled"))
            .map(|revision| (REVISION, format!("istio.io/rev={revision}"))),
        ambient
            .then(|| (DATAPLANE_MODE, "istio.io/dataplane-mode=ambient".to_owned()))
            .filter(|_| injection != Some("disabled")),
    ]
    .into_iter()
    .flatten()
    .collect();
    match asked.as_slice() {
        [] if injection.is_none() => {
            if injects_by_default(index) {
                report.add(
                    &INJECTED_BY_DEFAULT,
                    namespace,
                    at!(metadata.name),
                    "its pods get sidecars, since Istio is installed to inject namespaces without label",
                    "nothing to do; label it istio-injection=disabled to keep them out",
                );
            } else {
                report.add(
                    &NAMESPACE_NOT_INJECTED,
                    namespace,
                    at!(metadata.name),
                    "its pods get no sidecar, and the namespace does not say that this is meant",
                    format!("kubectl label namespace {name} istio-injection=enabled, or =disabled"),
                );
            }
        }
        [] | [_] => {}
        [_, (second, _), ..] => {
            let all: Vec<&str> = asked.iter().map(|(_, text)| text.as_str()).collect();
            let field = FieldPath::root()
                .field("metadata")
                .field("labels")
                .field(*second);
            report.add(
                &MULTIPLE_INJECTION_LABELS,
                namespace,
                field,
                format!(
                    "{} ask for different ways into the mesh; which one wins is not defined",
                    all.join(" and ")
                ),
                "keep one of the labels",
            );
        }
    }
}

/// Whether an injector's ConfigMap says `enableNamespacesByDefault`.
fn injects_by_default(index: &Index) -> bool {
    index
        .named(
            "",
            "ConfigMap",
            &index.system_namespace,
            "istio-sidecar-injector",
        )
        .and_then(|map| {
            serde_json::from_str::<Value>(map.tree().at(&["data", "values"]).text()).ok()
        })
        .and_then(|values| {
            values
                .pointer("/sidecarInjectorWebhook/enableNamespacesByDefault")?
                .as_bool()
        })
        .unwrap_or(false)
}
