//! Kubernetes Services, with endpoints from EndpointSlices or Endpoints where there are any,
//! otherwise from the Pods and WorkloadEntries that the selector finds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Service as KubeService, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use meltemi_api::Meta;

use crate::instances::Instances;
use crate::pods::{Instance, Source};
use crate::{
    Endpoint, Health, Port, Problem, Protocol, Provider, Resolution, Service, Settings, Target,
    Workload,
};

/// Endpoint objects by the service they belong to (namespace, name).
#[derive(Default)]
pub struct Declared<'a> {
    slices: HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>,
    endpoints: HashMap<(&'a str, &'a str), &'a Endpoints>,
}

impl<'a> Declared<'a> {
    pub fn slice(&mut self, meta: &'a Meta, slice: &'a EndpointSlice) {
        if let Some(service) = meta.labels.get("kubernetes.io/service-name") {
            self.slices
                .entry((&meta.namespace, service))
                .or_default()
                .push(slice);
        }
    }

    pub fn endpoints(&mut self, meta: &'a Meta, endpoints: &'a Endpoints) {
        self.endpoints
            .insert((&meta.namespace, &meta.name), endpoints);
    }
}

/// One service; its cluster IP may still be missing (see `address`).
pub fn service(
    meta: &Meta,
    object: &KubeService,
    instances: &Instances,
    declared: &Declared<'_>,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Service {
    let spec = object.spec.clone().unwrap_or_default();
    let external_name = (spec.type_.as_deref() == Some("ExternalName"))
        .then(|| spec.external_name.clone())
        .flatten();
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let mut addresses: Vec<String> = Vec::new();
    let listed = spec.cluster_ips.iter().flatten();
    for ip in spec.cluster_ip.iter().chain(listed) {
        if ip != "None" && !ip.is_empty() && !addresses.contains(ip) {
            addresses.push(ip.clone());
        }
    }
    let selector = spec.selector.clone().unwrap_or_default();
    let export = meta
        .annotations
        .get("networking.istio.io/exportTo")
        .map_or("", String::as_str);
    let mut service = Service {
        hostname: settings.hostname(&meta.name, &meta.namespace).into(),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        object: meta.key(),
        provider: Provider::Kubernetes,
        labels: meta.labels.clone(),
        ports: Vec::new(),
        resolution: match (&external_name, headless) {
            (Some(_), _) => Resolution::Alias,
            (None, true) => Resolution::Passthrough,
            (None, false) => Resolution::ClientSide,
        },
        addresses,
        auto_address: None,
        external: external_name.is_some(),
        external_name,
        headless,
        visibility: settings.visibility(
            export.split(',').filter(|e| !e.is_empty()).collect(),
            &meta.namespace,
        ),
        selector,
        identities: Default::default(),
        endpoints: BTreeMap::new(),
        created: crate::created(meta),
    };
    let publish_unready = spec.publish_not_ready_addresses.unwrap_or(false);
    let key = (meta.namespace.as_str(), meta.name.as_str());
    for port in spec.ports.iter().flatten() {
        let Ok(number) = u16::try_from(port.port) else {
            problems.push(Problem::new(
                meta,
                "spec.ports",
                format!("port {} is not a port number; use 1 to 65535", port.port),
            ));
            continue;
        };
        let name = port.name.clone().unwrap_or_default();
        service.ports.push(Port {
            protocol: Protocol::of_kubernetes(port),
            name: name.clone(),
            number,
        });
        let mut endpoints = if let Some(target) = &service.external_name {
            vec![crate::endpoint::anonymous(target, number, settings)]
        } else if let Some(slices) = declared.slices.get(&key) {
            from_slices(slices, &name, meta, instances, settings)
        } else if let Some(object) = declared.endpoints.get(&key) {
            from_endpoints(object, &name, meta, instances, settings)
        } else {
            from_instances(&service, port, number, instances)
        };
        endpoints.retain(|endpoint| match endpoint.health {
            Health::Ready => true,
            Health::Unready => publish_unready,
            Health::Terminating => false,
        });
        crate::add_endpoints(&mut service, number, endpoints);
    }
    service
}

fn from_instances(
    service: &Service,
    port: &ServicePort,
    number: u16,
    instances: &Instances,
) -> Vec<Endpoint> {
    instances
        .select(&service.namespace, &service.selector)
        .filter_map(|instance| {
            let target_port = target_port(instance, port, number)?;
            Some(endpoints_of(instance, target_port))
        })
        .flatten()
        .collect()
}

/// The port on which an instance serves a service's port; `None` where the name is unknown
/// there (Kubernetes leaves such Pods out of the service).
pub fn target_port(instance: &Instance, port: &ServicePort, number: u16) -> Option<u16> {
    if instance.source == Source::WorkloadEntry
        && let Some(named) = port
            .name
            .as_ref()
            .and_then(|name| instance.named_ports.get(name))
    {
        return Some(*named);
    }
    match &port.target_port {
        None => Some(number),
        // Kubernetes defaults an absent or zero targetPort to the port.
        Some(IntOrString::Int(0)) => Some(number),
        Some(IntOrString::Int(target)) => u16::try_from(*target).ok(),
        Some(IntOrString::String(name)) => instance
            .named_ports
            .get(name)
            .copied()
            .or_else(|| name.parse().ok())
            .or_else(|| (instance.source == Source::WorkloadEntry).then_some(number)),
    }
}

/// An instance's endpoints on a port, one an address.
pub fn endpoints_of(instance: &Instance, port: u16) -> Vec<Endpoint> {
    instance
        .targets
        .iter()
        .map(|target| Endpoint {
            target: target.clone(),
            port,
            weight: instance.weight,
            health: match (instance.terminating, instance.ready) {
                (true, _) => Health::Terminating,
                (false, true) => Health::Ready,
                (false, false) => Health::Unready,
            },
            workload: instance.workload.clone(),
        })
        .collect()
}

fn from_slices(
    slices: &[&EndpointSlice],
    port_name: &str,
    meta: &Meta,
    instances: &Instances,
    settings: &Settings,
) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for slice in slices {
        let port = slice
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref().unwrap_or_default() == port_name)
            .and_then(|port| u16::try_from(port.port?).ok());
        let Some(port) = port else { continue };
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let health = if conditions.terminating.unwrap_or(false) {
                Health::Terminating
            } else if conditions.ready.unwrap_or(true) {
                Health::Ready
            } else {
                Health::Unready
            };
            let pod = endpoint.target_ref.as_ref().and_then(|r| r.name.as_deref());
            for address in &endpoint.addresses {
                let mut workload = workload_at(address, pod, meta, instances, settings);
                if let Some(zone) = &endpoint.zone
                    && workload.locality.is_unknown()
                {
                    Arc::make_mut(&mut workload).locality.zone = zone.clone();
                }
                found.push(Endpoint {
                    target: Target::parse(address),
                    port,
                    weight: 1,
                    health,
                    workload,
                });
            }
        }
    }
    found
}

fn from_endpoints(
    object: &Endpoints,
    port_name: &str,
    meta: &Meta,
    instances: &Instances,
    settings: &Settings,
) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for subset in object.subsets.iter().flatten() {
        let port = subset
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref().unwrap_or_default() == port_name)
            .and_then(|port| u16::try_from(port.port).ok());
        let Some(port) = port else { continue };
        let ready = subset
            .addresses
            .iter()
            .flatten()
            .map(|a| (a, Health::Ready));
        let unready = subset
            .not_ready_addresses
            .iter()
            .flatten()
            .map(|a| (a, Health::Unready));
        for (address, health) in ready.chain(unready) {
            let pod = address.target_ref.as_ref().and_then(|r| r.name.as_deref());
            found.push(Endpoint {
                target: Target::parse(&address.ip),
                port,
                weight: 1,
                health,
                workload: workload_at(&address.ip, pod, meta, instances, settings),
            });
        }
    }
    found
}

/// The workload at a declared address: the Pod that is named or has the address, otherwise an
/// anonymous one without a proxy.
fn workload_at(
    address: &str,
    pod: Option<&str>,
    meta: &Meta,
    instances: &Instances,
    settings: &Settings,
) -> Arc<Workload> {
    let by_name = pod.and_then(|name| instances.named(&meta.namespace, name));
    let by_ip = || instances.at(address.parse().ok()?);
    match by_name.or_else(by_ip) {
        Some(instance) => instance.workload.clone(),
        None => Arc::new(Workload::anonymous(settings)),
    }
}
