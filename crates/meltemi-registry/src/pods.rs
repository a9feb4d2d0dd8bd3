//! Pods and WorkloadEntries as workloads: addresses, readiness, ports, identity.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use meltemi_api::Meta;
use meltemi_api::networking::WorkloadEntry;

use crate::{Locality, Settings, Target, Workload};

/// A workload that endpoints can be made of.
#[derive(Debug, Clone)]
pub struct Instance {
    pub source: Source,
    /// The Pod's IPs (at most one of each family), or a WorkloadEntry's single address.
    pub targets: Vec<Target>,
    pub ready: bool,
    pub terminating: bool,
    /// Runs a gateway instead of an application with a sidecar.
    pub gateway: bool,
    /// Port numbers by name.
    pub named_ports: BTreeMap<String, u16>,
    pub weight: u32,
    pub workload: Arc<Workload>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Pod,
    WorkloadEntry,
}

impl Instance {
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.targets.iter().filter_map(|target| match target {
            Target::Ip(ip) => Some(*ip),
            Target::Name(_) | Target::Unix(_) => None,
        })
    }
}

/// A Pod as a workload; `None` while it has no address, and when it has finished.
pub fn from_pod(meta: &Meta, pod: &Pod, settings: &Settings) -> Option<Instance> {
    let spec = pod.spec.as_ref()?;
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let mut targets: Vec<Target> = Vec::new();
    let listed = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    for ip in status.pod_ip.as_deref().into_iter().chain(listed) {
        if let Ok(ip) = ip.parse::<IpAddr>()
            && !targets.contains(&Target::Ip(ip))
        {
            targets.push(Target::Ip(ip));
        }
    }
    if targets.is_empty() {
        return None;
    }
    let ready = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let gateway = is_gateway(meta, pod);
    let service_account = spec
        .service_account_name
        .clone()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "default".to_owned());
    let host_network = spec.host_network.unwrap_or(false);
    let workload = Workload {
        name: meta.name.clone(),
        workload: owner(meta, pod),
        namespace: meta.namespace.clone(),
        identity: settings.identity(&meta.namespace, &service_account),
        service_account,
        locality: locality_of(&meta.labels),
        network: label(&meta.labels, "topology.istio.io/network"),
        cluster_id: settings.cluster_id.clone(),
        mutual_tls: match meta.labels.get("security.istio.io/tlsMode") {
            Some(mode) => mode == "istio",
            None => !gateway && !host_network && injected(meta),
        },
        hostname: spec.hostname.clone().unwrap_or_default(),
        subdomain: spec.subdomain.clone().unwrap_or_default(),
        labels: meta.labels.clone(),
    };
    let named_ports = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = u16::try_from(port.container_port).ok()?;
            Some((port.name.clone()?, number))
        })
        .collect();
    Some(Instance {
        source: Source::Pod,
        targets,
        ready,
        terminating: pod.metadata.deletion_timestamp.is_some(),
        gateway,
        named_ports,
        weight: 1,
        workload: Arc::new(workload),
    })
}

/// A WorkloadEntry as a workload.
pub fn from_entry(
    name: &str,
    namespace: &str,
    entry: &WorkloadEntry,
    settings: &Settings,
) -> Instance {
    let account = &entry.service_account;
    let mut locality = Locality::parse(&entry.locality);
    if locality.is_unknown() {
        locality = locality_of(&entry.labels);
    }
    Instance {
        source: Source::WorkloadEntry,
        targets: vec![Target::parse(&entry.address)],
        ready: true,
        terminating: false,
        gateway: false,
        named_ports: entry
            .ports
            .iter()
            .filter_map(|(name, port)| Some((name.clone(), u16::try_from(*port).ok()?)))
            .collect(),
        weight: entry.weight.max(1),
        workload: Arc::new(Workload {
            name: name.to_owned(),
            workload: name.to_owned(),
            namespace: namespace.to_owned(),
            identity: if account.is_empty() {
                String::new()
            } else {
                settings.identity(namespace, account)
            },
            service_account: account.clone(),
            locality,
            network: entry.network.clone(),
            cluster_id: settings.cluster_id.clone(),
            // Istio: the label decides; without it an account means that there is a proxy.
            mutual_tls: match entry.labels.get("security.istio.io/tlsMode") {
                Some(mode) => mode == "istio",
                None => !account.is_empty(),
            },
            hostname: String::new(),
            subdomain: String::new(),
            labels: entry.labels.clone(),
        }),
    }
}

/// Whether a sidecar is injected: label, else annotation `sidecar.istio.io/inject`, else yes.
fn injected(meta: &Meta) -> bool {
    let key = "sidecar.istio.io/inject";
    meta.labels
        .get(key)
        .or_else(|| meta.annotations.get(key))
        .is_none_or(|value| !value.eq_ignore_ascii_case("false"))
}

/// A gateway's proxy accepts what its Gateway objects say, not mesh mTLS on every port. Istio
/// marks such Pods by the injection template; Pods that hold nothing but the proxy, and Istio's
/// own `istio: ...gateway` label, are taken as gateways too.
fn is_gateway(meta: &Meta, pod: &Pod) -> bool {
    let templates = meta
        .annotations
        .get("inject.istio.io/templates")
        .is_some_and(|templates| templates.split(',').any(|name| name.trim() == "gateway"));
    let named = meta
        .labels
        .get("istio")
        .is_some_and(|name| name.ends_with("gateway"));
    let only_proxy = pod.spec.as_ref().is_some_and(|spec| {
        !spec.containers.is_empty() && spec.containers.iter().all(|c| c.name == "istio-proxy")
    });
    templates || named || only_proxy
}

/// The name of what the Pod belongs to: a ReplicaSet's owner is the Deployment whose name
/// stands before the template hash.
fn owner(meta: &Meta, pod: &Pod) -> String {
    let Some(owner) = pod
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller.unwrap_or(true))
    else {
        return meta.name.clone();
    };
    if owner.kind == "ReplicaSet"
        && let Some(hash) = meta.labels.get("pod-template-hash")
        && let Some(deployment) = owner.name.strip_suffix(&format!("-{hash}"))
    {
        return deployment.to_owned();
    }
    owner.name.clone()
}

fn locality_of(labels: &BTreeMap<String, String>) -> Locality {
    if let Some(text) = labels.get("istio-locality") {
        return Locality::parse_label(text);
    }
    Locality {
        region: label(labels, "topology.kubernetes.io/region"),
        zone: label(labels, "topology.kubernetes.io/zone"),
        sub_zone: label(labels, "topology.istio.io/subzone"),
    }
}

fn label(labels: &BTreeMap<String, String>, key: &str) -> String {
    labels.get(key).cloned().unwrap_or_default()
}
