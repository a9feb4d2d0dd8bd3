//! `image: auto`, the placeholder that injection replaces.

use meltemi_api::FieldPath;
use meltemi_api::k8s::openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration,
};

use crate::code::{IMAGE_AUTO_ERROR, IMAGE_AUTO_WARNING};
use crate::injection::PROXY_CONTAINER;
use crate::selector::matches;
use crate::workload::{Workload, pods};
use crate::{Analyzer, Index, Platform, Report};

pub struct ImageAuto;

impl Analyzer for ImageAuto {
    fn name(&self) -> &'static str {
        "injection.ImageAutoAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that workloads with `image: auto` are going to be injected"
    }

    fn by_default(&self, index: &Index) -> bool {
        index.platform == Platform::Kubernetes
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for pod in pods(index) {
            if let Some(field) = placeholder(&pod) {
                report.add(
                    &IMAGE_AUTO_ERROR,
                    pod.resource,
                    field,
                    "the pod runs with the image `auto`, which injection did not replace",
                    "see that an injection webhook selects it, then recreate the pod",
                );
            }
        }
        let webhooks = istio_webhooks(index);
        for resource in index.kind("apps", "Deployment") {
            let workload = Workload::of_template(resource);
            let Some(field) = placeholder(&workload) else {
                continue;
            };
            let empty = Default::default();
            let namespace = match workload.namespace() {
                "" => "default",
                namespace => namespace,
            };
            let labels = index.namespace_labels(namespace).unwrap_or(&empty);
            let injected = webhooks.iter().any(|webhook| {
                matches(webhook.namespace_selector.as_ref(), labels)
                    && matches(webhook.object_selector.as_ref(), &workload.labels)
            });
            if !injected {
                report.add(
                    &IMAGE_AUTO_WARNING,
                    resource,
                    field,
                    "its pods wait for injection to replace the image `auto`, and no webhook selects them",
                    "label the namespace istio-injection=enabled, or the template sidecar.istio.io/inject: \"true\"",
                );
            }
        }
    }
}

fn placeholder(workload: &Workload<'_>) -> Option<FieldPath> {
    workload
        .containers()
        .into_iter()
        .find(|container| {
            container.get("name").text() == PROXY_CONTAINER
                && container.get("image").text() == "auto"
        })
        .map(|container| container.get("image").path)
}

fn istio_webhooks(index: &Index) -> Vec<MutatingWebhook> {
    index
        .kind(
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration",
        )
        .filter_map(|resource| {
            serde_json::from_value::<MutatingWebhookConfiguration>(resource.tree().value()).ok()
        })
        .flat_map(|configuration| configuration.webhooks.unwrap_or_default())
        .filter(|webhook| webhook.name.ends_with("istio.io"))
        .collect()
}
