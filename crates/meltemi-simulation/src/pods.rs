//! Pods for the workloads that configuration files declare: files know Deployments, and only a
//! running mesh knows their Pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use meltemi_api::k8s::openapi::api::core::v1::{PodCondition, PodStatus, PodTemplateSpec};
use meltemi_api::k8s::openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use meltemi_api::{Kind, Meta, Object, Spec, k8s};
use meltemi_discovery::world::mesh::Mesh;

/// Addresses of such Pods: a range for documentation and tests (RFC 2544, 198.18.0.0/15).
const RANGE: [u8; 2] = [198, 18];

/// One ready Pod for each Deployment and StatefulSet whose Pods are not among the objects, and
/// for each Gateway that no Pod serves.
pub(crate) fn missing<'a>(objects: impl Iterator<Item = &'a Object> + Clone) -> Vec<Object> {
    let owners: BTreeSet<(&str, &str)> = objects
        .clone()
        .filter_map(|object| match &object.spec {
            Spec::Pod(pod) => Some((object.meta.namespace.as_str(), owner(pod)?)),
            _ => None,
        })
        .collect();
    let mut pods: Vec<Object> = Vec::new();
    for object in objects.clone() {
        let meta = &object.meta;
        let template = match &object.spec {
            Spec::Deployment(deployment) => deployment.spec.as_ref().map(|s| &s.template),
            Spec::StatefulSet(set) => set.spec.as_ref().map(|spec| &spec.template),
            _ => None,
        };
        let Some(template) = template else { continue };
        // A ReplicaSet's name is the Deployment's and a hash.
        let running = owners.iter().any(|(namespace, owner)| {
            *namespace == meta.namespace
                && owner
                    .strip_prefix(meta.name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        if !running {
            pods.push(pod(meta, template, pods.len()));
        }
    }
    let config = objects.clone().find_map(|object| match &object.spec {
        Spec::MeshConfig(config) => Some(config.clone()),
        _ => None,
    });
    let ingress = Mesh::new(config.unwrap_or_default()).ingress_labels();
    for object in objects.clone() {
        let selector = match &object.spec {
            Spec::Gateway(gateway) => &gateway.selector,
            // Those that say nothing of workloads are the mesh's ingress gateway's.
            Spec::KubernetesGateway(gateway) if gateway.addresses.is_empty() => &ingress,
            Spec::Ingress(_) => &ingress,
            _ => continue,
        };
        let selects = |pod: &Object| {
            pod.meta.kind == Kind::Pod
                && selector
                    .iter()
                    .all(|(key, value)| pod.meta.labels.get(key) == Some(value))
        };
        let served = objects.clone().any(selects) || pods.iter().any(selects);
        if !selector.is_empty() && !served {
            pods.push(gateway_pod(selector, pods.len()));
        }
    }
    pods
}

fn owner(pod: &k8s::Pod) -> Option<&str> {
    let owners = pod.metadata.owner_references.as_ref()?;
    owners.first().map(|owner| owner.name.as_str())
}

fn pod(of: &Meta, template: &PodTemplateSpec, number: usize) -> Object {
    let given = template.metadata.clone().unwrap_or_default();
    let name = format!("{}-0", of.name);
    let spec = k8s::Pod {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(of.namespace.clone()),
            owner_references: Some(vec![OwnerReference {
                name: of.name.clone(),
                kind: of.kind.as_str().to_owned(),
                controller: Some(true),
                ..Default::default()
            }]),
            ..given.clone()
        },
        spec: template.spec.clone(),
        status: Some(ready(number)),
    };
    Object {
        meta: Meta {
            kind: Kind::Pod,
            api_version: "v1".to_owned(),
            name,
            labels: given.labels.unwrap_or_default(),
            annotations: given.annotations.unwrap_or_default(),
            ..of.clone()
        },
        spec: Spec::Pod(Arc::new(spec)),
    }
}

/// The gateway that a Gateway's selector means, as Istio's installation has it.
fn gateway_pod(selector: &BTreeMap<String, String>, number: usize) -> Object {
    let role = selector.get("istio").or(selector.values().next());
    let role = role.map_or("gateway", String::as_str);
    let name = match role.starts_with("istio-") {
        true => role.to_owned(),
        false => format!("istio-{role}"),
    };
    let spec = k8s::Pod {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some("istio-system".to_owned()),
            labels: Some(selector.clone()),
            ..Default::default()
        },
        spec: Some(Default::default()),
        status: Some(ready(number)),
    };
    Object {
        meta: Meta {
            kind: Kind::Pod,
            api_version: "v1".to_owned(),
            name,
            namespace: "istio-system".to_owned(),
            labels: selector.clone(),
            annotations: [("inject.istio.io/templates".to_owned(), "gateway".to_owned())].into(),
            creation_timestamp: None,
            resource_version: 0,
            origin: None,
        },
        spec: Spec::Pod(Arc::new(spec)),
    }
}

fn ready(number: usize) -> PodStatus {
    let [third, fourth] = u16::try_from(number + 1).unwrap_or(u16::MAX).to_be_bytes();
    PodStatus {
        phase: Some("Running".to_owned()),
        pod_ip: Some(Ipv4Addr::new(RANGE[0], RANGE[1], third, fourth).to_string()),
        conditions: Some(vec![PodCondition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            ..Default::default()
        }]),
        ..Default::default()
    }
}
