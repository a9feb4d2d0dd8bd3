//! What runs: pods, and the pods that Deployments and their like would make.

use std::collections::BTreeMap;

use crate::selector::{Labels, selects};
use crate::{Index, Resource, Tree};

/// A pod, or a pod template of which there is no pod.
#[derive(Debug)]
pub struct Workload<'a> {
    /// Pod, Deployment, StatefulSet.
    pub resource: &'a Resource,
    /// Labels of the pods.
    pub labels: Labels,
    /// Annotations of the pods.
    pub annotations: BTreeMap<String, String>,
    /// Pod spec.
    pub spec: Tree<'a>,
}

impl<'a> Workload<'a> {
    /// A Pod object.
    pub fn of_pod(resource: &'a Resource) -> Self {
        Self {
            resource,
            labels: resource.labels.clone(),
            annotations: resource.annotations.clone(),
            spec: resource.tree().get("spec"),
        }
    }

    /// The pods that a Deployment or its like makes.
    pub fn of_template(resource: &'a Resource) -> Self {
        let template = resource.tree().at(&["spec", "template"]);
        let metadata = template.get("metadata");
        Self {
            resource,
            labels: metadata.get("labels").texts(),
            annotations: metadata.get("annotations").texts(),
            spec: template.get("spec"),
        }
    }

    /// Namespace.
    pub fn namespace(&self) -> &'a str {
        &self.resource.name.namespace
    }

    /// Containers, those that run beside the application included.
    pub fn containers(&self) -> Vec<Tree<'a>> {
        let mut all = self.spec.get("containers").items();
        all.extend(self.spec.get("initContainers").items());
        all
    }
}

/// Every pod, and every template whose labels no pod of the namespace has.
pub fn workloads(index: &Index) -> Vec<Workload<'_>> {
    let mut all: Vec<Workload<'_>> = pods(index).collect();
    let mut of_namespace: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (position, pod) in all.iter().enumerate() {
        of_namespace
            .entry(pod.namespace())
            .or_default()
            .push(position);
    }
    for kind in ["Deployment", "StatefulSet"] {
        for resource in index.kind("apps", kind) {
            let template = Workload::of_template(resource);
            let mut pods = of_namespace.get(template.namespace()).into_iter().flatten();
            if !pods.any(|pod| selects(&template.labels, &all[*pod].labels)) {
                all.push(template);
            }
        }
    }
    all
}

/// Every Pod object.
pub fn pods(index: &Index) -> impl Iterator<Item = Workload<'_>> {
    index.kind("", "Pod").map(Workload::of_pod)
}
