//! Who gets a proxy: labels and annotations of namespaces and pods.

use std::collections::BTreeMap;

use crate::Index;
use crate::index::Platform;
use crate::workload::{Workload, workloads};

/// Container of the proxy.
pub const PROXY_CONTAINER: &str = "istio-proxy";
/// Label of a namespace: `enabled` or `disabled`.
pub const INJECTION: &str = "istio-injection";
/// Label of a namespace or pod: which control plane injects.
pub const REVISION: &str = "istio.io/rev";
/// Label or annotation of a pod.
pub const INJECT: &str = "sidecar.istio.io/inject";
/// Label of a namespace or pod: `ambient`.
pub const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
/// Annotation of a pod whose traffic an ambient node proxy takes.
const REDIRECTION: &str = "ambient.istio.io/redirection";

/// What the pod itself says; the label comes before the annotation.
pub fn own_choice<'a>(workload: &'a Workload<'_>) -> Option<&'a str> {
    workload
        .labels
        .get(INJECT)
        .or_else(|| workload.annotations.get(INJECT))
        .map(String::as_str)
}

/// Whether the proxy's container is there already.
pub fn has_proxy(workload: &Workload<'_>) -> bool {
    workload
        .containers()
        .iter()
        .any(|container| container.get("name").text() == PROXY_CONTAINER)
}

/// Whether a namespace's labels ask for sidecars.
pub fn is_injected(labels: &BTreeMap<String, String>) -> bool {
    match labels.get(INJECTION).map(String::as_str) {
        Some(value) => value == "enabled",
        None => labels.contains_key(REVISION),
    }
}

/// Whether a namespace is in ambient mode: sidecars win where both are asked for.
pub fn is_ambient(labels: &BTreeMap<String, String>) -> bool {
    labels
        .get(DATAPLANE_MODE)
        .is_some_and(|mode| mode == "ambient")
        && !is_injected(labels)
}

/// Whether an ambient node proxy takes a pod's traffic.
pub fn is_redirected(workload: &Workload<'_>) -> bool {
    workload
        .annotations
        .get(REDIRECTION)
        .is_some_and(|value| value == "enabled")
}

/// Whether a workload has a proxy, or its traffic passes one. What a namespace says that the
/// index does not have is not known; its workloads count as in the mesh.
pub fn is_in_mesh(index: &Index, workload: &Workload<'_>) -> bool {
    if has_proxy(workload) || is_redirected(workload) {
        return true;
    }
    match own_choice(workload) {
        Some(choice) => choice == "true",
        None => {
            index.platform == Platform::Local
                || index
                    .namespace_labels(workload.namespace())
                    .is_none_or(|labels| is_injected(labels) || is_ambient(labels))
        }
    }
}

/// The workloads that have a proxy.
pub fn in_mesh(index: &Index) -> Vec<Workload<'_>> {
    let mut all = workloads(index);
    all.retain(|workload| is_in_mesh(index, workload));
    all
}
