//! Which pods should run: a pure function of the configuration's objects.

mod command;
mod env;

pub use command::{Command, CommandError};
pub(crate) use command::{envoy, proxy_image, resolve};
pub use env::EnvError;
pub(crate) use env::{PodFacts, environment, expand};

use crate::settings::LocalMesh;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec};
use meltemi_config::Objects;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pod that should run.
#[derive(Debug, Clone, PartialEq)]
pub struct PodPlan {
    /// Its namespace.
    pub namespace: String,
    /// Its name, which is also its host name.
    pub name: String,
    /// What it belongs to.
    pub owner: Owner,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its containers and the rest.
    pub spec: PodSpec,
    /// Changes with everything that a running pod cannot take over.
    pub hash: String,
    /// What runs in it.
    pub kind: PodKind,
}

/// What a pod belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Its kind.
    pub kind: OwnerKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Kinds that make pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerKind {
    /// Interchangeable pods, replaced by starting new ones first.
    Deployment,
    /// Numbered pods; `true`: in order, one at a time.
    StatefulSet {
        /// `podManagementPolicy: OrderedReady`.
        ordered: bool,
    },
    /// A pod on its own.
    Pod,
    /// A pod of `meltemi run`, whose process belongs to the command line.
    Run,
}

/// What runs in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodKind {
    /// Applications, with or without a sidecar.
    Application {
        /// Whether there is a sidecar.
        sidecar: bool,
    },
    /// A gateway: the proxy alone.
    Gateway,
}

impl PodPlan {
    /// `namespace.name`, the pod's key in files and in the sandbox.
    pub fn key(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// The service account it runs as.
    pub fn service_account(&self) -> &str {
        self.spec
            .service_account_name
            .as_deref()
            .filter(|name| !name.is_empty())
            .unwrap_or("default")
    }

    /// The name of the workload it belongs to (a Deployment's, say), as telemetry shows it.
    pub fn workload(&self) -> &str {
        &self.owner.name
    }

    /// Whether it has a proxy.
    pub fn has_proxy(&self) -> bool {
        self.kind != PodKind::Application { sidecar: false }
    }

    /// Its containers, without a proxy that we run ourselves.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        self.spec
            .containers
            .iter()
            .filter(|container| container.name != "istio-proxy")
    }
}

/// All pods that should run, by owner and then number.
pub fn pods(objects: &Objects, settings: &LocalMesh) -> Vec<Arc<PodPlan>> {
    let mut plans = Vec::new();
    for (meta, deployment) in objects.of::<Deployment>() {
        if let Some(spec) = &deployment.spec {
            let owner = Owner {
                kind: OwnerKind::Deployment,
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
            };
            let hash = hash_of(&spec.template, settings);
            for index in 0..count(spec.replicas) {
                plans.push(deployment_pod(&owner, &spec.template, &hash, index));
            }
        }
    }
    for (meta, set) in objects.of::<StatefulSet>() {
        if let Some(spec) = &set.spec {
            let ordered = spec.pod_management_policy.as_deref() != Some("Parallel");
            let kind = OwnerKind::StatefulSet { ordered };
            let owner = Owner {
                kind,
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
            };
            let hash = hash_of(&spec.template, settings);
            let first = spec
                .ordinals
                .as_ref()
                .and_then(|ordinals| ordinals.start)
                .unwrap_or(0)
                .max(0);
            for index in 0..count(spec.replicas) {
                let name = format!("{}-{}", meta.name, i64::from(first) + i64::from(index));
                let mut plan = plan(&owner, name.clone(), &spec.template, hash.clone());
                plan.spec.hostname = Some(name.clone());
                plan.spec.subdomain = spec.service_name.clone();
                plan.labels
                    .insert("statefulset.kubernetes.io/pod-name".into(), name);
                plan.labels
                    .insert("apps.kubernetes.io/pod-index".into(), index.to_string());
                plans.push(Arc::new(plan));
            }
        }
    }
    for (meta, pod) in objects.of::<Pod>() {
        let template = PodTemplateSpec {
            metadata: Some(pod.metadata.clone()),
            spec: pod.spec.clone(),
        };
        let owner = Owner {
            kind: OwnerKind::Pod,
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
        };
        let hash = hash_of(&template, settings);
        plans.push(Arc::new(plan(&owner, meta.name.clone(), &template, hash)));
    }
    plans
}

/// A replica count: 1 unless given; at most a thousand, which a machine could not hold anyway.
fn count(replicas: Option<i32>) -> u32 {
    replicas.unwrap_or(1).clamp(0, 1000).unsigned_abs()
}

fn deployment_pod(
    owner: &Owner,
    template: &PodTemplateSpec,
    hash: &str,
    index: u32,
) -> Arc<PodPlan> {
    let short = &hash[..10];
    // The same replica keeps its name, and with it its address, over restarts of the mesh.
    let suffix = &digest(format!("{}/{}/{index}", owner.namespace, owner.name).as_bytes())[..5];
    let mut name = format!("{}-{short}-{suffix}", owner.name);
    if name.len() > 63 {
        // A host name has at most 63 characters.
        name = format!(
            "{}-{short}-{suffix}",
            owner.name.chars().take(46).collect::<String>()
        );
    }
    let mut plan = plan(owner, name, template, hash.to_owned());
    plan.labels
        .insert("pod-template-hash".into(), short.to_owned());
    Arc::new(plan)
}

fn plan(owner: &Owner, name: String, template: &PodTemplateSpec, hash: String) -> PodPlan {
    let metadata = template.metadata.clone().unwrap_or_default();
    let mut labels = metadata.labels.unwrap_or_default();
    let annotations = metadata.annotations.unwrap_or_default();
    let spec = template.spec.clone().unwrap_or_default();
    let kind = kind(&labels, &annotations, &spec);
    if kind != (PodKind::Application { sidecar: false }) {
        label_for_mesh(&mut labels, &owner.name, kind);
    }
    PodPlan {
        namespace: owner.namespace.clone(),
        name,
        owner: owner.clone(),
        labels,
        annotations,
        spec,
        hash,
        kind,
    }
}

/// The labels that Istio's injection adds.
pub(crate) fn label_for_mesh(labels: &mut BTreeMap<String, String>, owner: &str, kind: PodKind) {
    let first = |names: &[&str], default: &str| {
        names
            .iter()
            .find_map(|name| labels.get(*name))
            .map_or_else(|| default.to_owned(), String::clone)
    };
    let name = first(
        &[
            "service.istio.io/canonical-name",
            "app.kubernetes.io/name",
            "app",
        ],
        owner,
    );
    let revision = first(
        &[
            "service.istio.io/canonical-revision",
            "app.kubernetes.io/version",
            "version",
        ],
        "latest",
    );
    labels.insert("service.istio.io/canonical-name".into(), name);
    labels.insert("service.istio.io/canonical-revision".into(), revision);
    if kind != PodKind::Gateway {
        labels
            .entry("security.istio.io/tlsMode".into())
            .or_insert_with(|| "istio".into());
    }
}

/// Gateways are marked as in Istio (injection template `gateway`), or hold the proxy alone;
/// sidecars are refused by `sidecar.istio.io/inject: "false"`, label before annotation.
pub(crate) fn kind(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    spec: &PodSpec,
) -> PodKind {
    let template = annotations.get("inject.istio.io/templates");
    let gateway =
        template.is_some_and(|names| names.split(',').any(|name| name.trim() == "gateway"));
    let alone = !spec.containers.is_empty()
        && spec
            .containers
            .iter()
            .all(|container| container.name == "istio-proxy");
    if gateway || alone {
        return PodKind::Gateway;
    }
    let inject = "sidecar.istio.io/inject";
    let refused = labels
        .get(inject)
        .or_else(|| annotations.get(inject))
        .is_some_and(|value| value.eq_ignore_ascii_case("false"));
    PodKind::Application { sidecar: !refused }
}

/// The template and the commands its images stand for.
fn hash_of(template: &PodTemplateSpec, settings: &LocalMesh) -> String {
    let containers = template.spec.iter().flat_map(|spec| {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    });
    let annotations = template
        .metadata
        .as_ref()
        .and_then(|meta| meta.annotations.as_ref());
    let none = BTreeMap::new();
    let proxy = proxy_image(annotations.unwrap_or(&none), settings);
    let images: Vec<_> = containers
        .filter_map(|container| container.image.as_deref())
        .chain(proxy)
        .filter_map(|image| settings.image(image))
        .collect();
    digest(json!([template, images]).to_string().as_bytes())
}

/// Lower-case letters and digits, as Kubernetes' names have.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests;
