//! Pods whose sidecar is not the one that injection would give them now.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::code::IMAGE_MISMATCH;
use crate::injection::{INJECTION, PROXY_CONTAINER, REVISION};
use crate::report::at;
use crate::workload::pods;
use crate::{Analyzer, Index, Platform, Report, Resource};

pub struct ProxyImage;

/// ConfigMap of the injector; those of revisions end in `-REVISION`.
const INJECTOR: &str = "istio-sidecar-injector";
/// Annotation by which a pod chooses its own image.
const OWN_IMAGE: &str = "sidecar.istio.io/proxyImage";
/// Variants of one image, which MeshConfig's `imageType` chooses.
const VARIANTS: [&str; 2] = ["-distroless", "-debug"];

impl Analyzer for ProxyImage {
    fn name(&self) -> &'static str {
        "injection.ImageAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that the sidecars of running pods have the image that injection gives"
    }

    fn by_default(&self, index: &Index) -> bool {
        index.platform == Platform::Kubernetes
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let images: BTreeMap<&str, String> = index
            .kind("", "ConfigMap")
            .filter(|map| map.name.name.starts_with(INJECTOR))
            .filter_map(|map| Some((map.name.name.as_str(), image(map)?)))
            .collect();
        for namespace in index.kind("", "Namespace") {
            let Some(wanted) = injector(namespace).and_then(|name| images.get(name.as_str()))
            else {
                continue;
            };
            let mut outdated: Vec<&str> = pods(index)
                .filter(|pod| pod.namespace() == namespace.name.name)
                .filter(|pod| !pod.annotations.contains_key(OWN_IMAGE))
                .filter(|pod| {
                    pod.containers().iter().any(|container| {
                        container.get("name").text() == PROXY_CONTAINER
                            && plain(container.get("image").text()) != plain(wanted)
                    })
                })
                .map(|pod| pod.resource.name.name.as_str())
                .collect();
            if outdated.is_empty() {
                continue;
            }
            outdated.sort_unstable();
            report.add(
                &IMAGE_MISMATCH,
                namespace,
                at!(metadata.name),
                format!(
                    "{} run another sidecar than {wanted}, which injection gives",
                    outdated.join(", ")
                ),
                "restart their workloads, as after every upgrade of the control plane",
            );
        }
    }
}

/// The ConfigMap of the control plane that injects a namespace.
fn injector(namespace: &Resource) -> Option<String> {
    match namespace.labels.get(REVISION).map(String::as_str) {
        Some("" | "default") => Some(INJECTOR.to_owned()),
        Some(revision) => Some(format!("{INJECTOR}-{revision}")),
        None => (namespace.labels.get(INJECTION)? == "enabled").then(|| INJECTOR.to_owned()),
    }
}

fn image(map: &Resource) -> Option<String> {
    let values: Value = serde_json::from_str(map.tree().at(&["data", "values"]).text()).ok()?;
    let text = |pointer: &str| values.pointer(pointer).and_then(Value::as_str);
    let image = text("/global/proxy/image")?;
    if image.contains('/') {
        return Some(image.to_owned());
    }
    Some(format!(
        "{}/{image}:{}",
        text("/global/hub")?,
        text("/global/tag")?
    ))
}

fn plain(image: &str) -> &str {
    VARIANTS
        .iter()
        .find_map(|variant| image.strip_suffix(variant))
        .unwrap_or(image)
}
