//! A workload's own view: which services, on which of its ports, lead to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service as KubeService, ServicePort};
use meltemi_api::networking::ServiceEntry;

use crate::{Instance, Port, Service, Source, Target, kube, matches};

/// One service port that leads to a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTarget {
    pub service: Arc<Service>,
    pub port: Port,
    /// The workload's port.
    pub target_port: u16,
}

/// Which services may lead to a workload, by position.
#[derive(Debug, Default)]
pub struct LeadsTo {
    /// Those that select workloads, by namespace.
    selecting: HashMap<String, Vec<usize>>,
    /// By the addresses of their endpoints.
    by_ip: HashMap<IpAddr, Vec<usize>>,
}

impl LeadsTo {
    pub fn new(services: &[Arc<Service>]) -> Self {
        let mut index = Self::default();
        for (position, service) in services.iter().enumerate() {
            if !service.selector.is_empty() {
                index
                    .selecting
                    .entry(service.namespace.clone())
                    .or_default()
                    .push(position);
            }
            for endpoint in service.endpoints.values().flatten() {
                if let Target::Ip(ip) = endpoint.target {
                    let positions = index.by_ip.entry(ip).or_default();
                    if positions.last() != Some(&position) {
                        positions.push(position);
                    }
                }
            }
        }
        index
    }

    /// In order of position, each once.
    pub fn candidates(
        &self,
        namespace: &str,
        ips: &[IpAddr],
    ) -> impl Iterator<Item = usize> + use<> {
        let selecting = self.selecting.get(namespace).into_iter();
        let by_ip = ips.iter().filter_map(|ip| self.by_ip.get(ip));
        let positions: BTreeSet<usize> = selecting.chain(by_ip).flatten().copied().collect();
        positions.into_iter()
    }
}

/// A service's host name and namespace.
type Key = (Arc<str>, String);

/// How the services' ports map to their workloads' ports; kept apart from [`Service`] as only
/// inbound listeners need it.
#[derive(Debug, Default)]
pub struct PodPorts {
    kube: HashMap<Key, Vec<(u16, ServicePort)>>,
    entries: HashMap<Key, BTreeMap<u16, u16>>,
}

impl PodPorts {
    pub fn service(&mut self, service: &Service, object: &KubeService) {
        let ports = object
            .spec
            .iter()
            .flat_map(|spec| spec.ports.iter().flatten())
            .filter_map(|port| Some((u16::try_from(port.port).ok()?, port.clone())))
            .collect();
        self.kube
            .insert((service.hostname.clone(), service.namespace.clone()), ports);
    }

    pub fn entry(&mut self, service: &Service, entry: &ServiceEntry) {
        let ports = entry
            .ports
            .iter()
            .filter_map(|port| {
                let number = u16::try_from(port.number).ok()?;
                let target = u16::try_from(port.target_port).ok().filter(|p| *p != 0);
                Some((number, target.unwrap_or(number)))
            })
            .collect();
        self.entries
            .insert((service.hostname.clone(), service.namespace.clone()), ports);
    }

    /// The workload's port behind a service's port; `None` where its name is not known there.
    fn target_port(
        &self,
        service: &Service,
        port: u16,
        instance: Option<&Instance>,
    ) -> Option<u16> {
        let key = (service.hostname.clone(), service.namespace.clone());
        if let Some(ports) = self.kube.get(&key) {
            let (_, declared) = ports.iter().find(|(number, _)| *number == port)?;
            return match instance {
                Some(instance) => kube::target_port(instance, declared, port),
                None => numbered(declared, port),
            };
        }
        let declared = self.entries.get(&key)?.get(&port).copied()?;
        let named = instance
            .filter(|instance| instance.source == Source::WorkloadEntry)
            .zip(service.port(port))
            .and_then(|(instance, port)| instance.named_ports.get(&port.name).copied());
        Some(named.unwrap_or(declared))
    }
}

/// Without a Pod a port's name cannot be looked up.
fn numbered(port: &ServicePort, number: u16) -> Option<u16> {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(number),
        Some(IntOrString::Int(target)) => u16::try_from(*target).ok(),
        Some(IntOrString::String(name)) => name.parse().ok(),
    }
}

pub fn of<'a>(
    services: impl Iterator<Item = &'a Arc<Service>>,
    ports: &PodPorts,
    namespace: &str,
    labels: &BTreeMap<String, String>,
    ips: &[IpAddr],
    instance: Option<&Instance>,
) -> Vec<ServiceTarget> {
    let mut found = Vec::new();
    for service in services {
        let selected = service.namespace == namespace
            && !service.selector.is_empty()
            && matches(&service.selector, labels);
        for port in &service.ports {
            let target_port = if selected {
                ports.target_port(service, port.number, instance)
            } else {
                // Declared endpoints (slices, ServiceEntry addresses) name the workload by IP.
                service
                    .endpoints(port.number)
                    .iter()
                    .find(|endpoint| matches!(endpoint.target, Target::Ip(ip) if ips.contains(&ip)))
                    .map(|endpoint| endpoint.port)
            };
            if let Some(target_port) = target_port {
                found.push(ServiceTarget {
                    service: service.clone(),
                    port: port.clone(),
                    target_port,
                });
            }
        }
    }
    found.sort_by(|a, b| {
        (a.target_port, &a.service.hostname).cmp(&(b.target_port, &b.service.hostname))
    });
    found
}
