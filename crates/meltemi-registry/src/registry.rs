//! The registry: every service by name, every workload by address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use meltemi_api::networking::ServiceEntry;
use meltemi_api::{Meta, Object, ObjectKey, Spec};

use crate::instances::Instances;
use crate::kube::{self, Declared};
use crate::targets::{LeadsTo, PodPorts};
use crate::{
    Instance, Problem, Provider, Range16, Resolution, Service, ServiceTarget, Settings, address,
    pods, service_entry, targets,
};

/// Addresses for ServiceEntry hosts without one: Istio's range.
const AUTOMATIC_RANGE: Range16 = Range16([240, 240]);

/// Services and workloads at one moment; immutable.
#[derive(Debug, Default)]
pub struct Registry {
    /// In order of host name, then namespace.
    services: Vec<Arc<Service>>,
    by_host: BTreeMap<Arc<str>, Vec<Arc<Service>>>,
    instances: Instances,
    pod_ports: PodPorts,
    leads_to: LeadsTo,
    problems: Vec<Problem>,
    settings: Settings,
    declarations: BTreeMap<ObjectKey, Declaration>,
}

/// What a ServiceEntry declares that selects no workloads: as long as it stays, its services do.
#[derive(Debug, Clone)]
struct Declaration {
    entry: Arc<ServiceEntry>,
    labels: BTreeMap<String, String>,
    /// Their addresses may still be missing.
    services: Vec<Arc<Service>>,
    problems: Vec<Problem>,
}

impl Declaration {
    fn of(
        meta: &Meta,
        entry: &Arc<ServiceEntry>,
        instances: &Instances,
        settings: &Settings,
    ) -> Self {
        let mut problems = Vec::new();
        let services = service_entry::services(meta, entry, instances, settings, &mut problems);
        Self {
            entry: entry.clone(),
            labels: meta.labels.clone(),
            services: services.into_iter().map(Arc::new).collect(),
            problems,
        }
    }

    fn is_of(&self, meta: &Meta, entry: &Arc<ServiceEntry>) -> bool {
        let created = crate::created(meta);
        Arc::ptr_eq(&self.entry, entry)
            && self.labels == meta.labels
            && self.services.iter().all(|s| s.created == created)
    }
}

impl Registry {
    /// Builds the registry from all objects; kinds that it does not know are passed over.
    pub fn build<'a>(objects: impl IntoIterator<Item = &'a Object>, settings: &Settings) -> Self {
        Self::next(objects, settings, &Self::default())
    }

    /// The same as [`Self::build`]; an earlier registry only saves work.
    pub fn next<'a>(
        objects: impl IntoIterator<Item = &'a Object>,
        settings: &Settings,
        before: &Self,
    ) -> Self {
        let mut kube_services = Vec::new();
        let mut entries = Vec::new();
        let mut workloads = Vec::new();
        let mut declared = Declared::default();
        for object in objects {
            let meta = &object.meta;
            match &object.spec {
                Spec::Service(service) => kube_services.push((meta, service)),
                Spec::ServiceEntry(entry) => entries.push((meta, entry)),
                Spec::Pod(pod) => workloads.extend(pods::from_pod(meta, pod, settings)),
                Spec::WorkloadEntry(entry) => workloads.push(pods::from_entry(
                    &meta.name,
                    &meta.namespace,
                    entry,
                    settings,
                )),
                Spec::EndpointSlice(slice) => declared.slice(meta, slice),
                Spec::Endpoints(endpoints) => declared.endpoints(meta, endpoints),
                _ => {}
            }
        }
        let instances = Instances::new(workloads);
        let mut problems = Vec::new();
        let mut pod_ports = PodPorts::default();
        let mut services: Vec<Arc<Service>> = Vec::new();
        for (meta, object) in kube_services {
            let service =
                kube::service(meta, object, &instances, &declared, settings, &mut problems);
            pod_ports.service(&service, object);
            services.push(Arc::new(service));
        }
        let mut declarations = BTreeMap::new();
        for (meta, entry) in entries {
            let key = meta.key();
            let known = before.declarations.get(&key);
            let known = known.filter(|d| before.settings == *settings && d.is_of(meta, entry));
            let declaration = match known {
                Some(known) => known.clone(),
                None => Declaration::of(meta, entry, &instances, settings),
            };
            for service in &declaration.services {
                pod_ports.entry(service, entry);
            }
            problems.extend(declaration.problems.iter().cloned());
            services.extend(declaration.services.iter().cloned());
            if entry.workload_selector.is_none() {
                declarations.insert(key, declaration);
            }
        }
        give_addresses(&mut services, settings);
        // Of several declarations of a host in a namespace Kubernetes' wins, then the oldest.
        services.sort_by(|a, b| {
            let place = |service: &Service| service.provider == Provider::External;
            (&a.hostname, &a.namespace, place(a), &a.created).cmp(&(
                &b.hostname,
                &b.namespace,
                place(b),
                &b.created,
            ))
        });
        services.dedup_by(|later, first| {
            let same = later.hostname == first.hostname && later.namespace == first.namespace;
            if same {
                merge(Arc::make_mut(first), later);
            }
            same
        });
        // What nobody has but the declaration was changed for this registry, and will be for the
        // next: keeping it would only cost memory.
        let in_use = |service: &Arc<Service>| Arc::strong_count(service) > 1;
        declarations
            .retain(|_, declaration: &mut Declaration| declaration.services.iter().all(in_use));
        problems.sort_by(|a, b| (&a.object, &a.field).cmp(&(&b.object, &b.field)));
        Self {
            by_host: by_host(&services),
            leads_to: LeadsTo::new(&services),
            services,
            instances,
            pod_ports,
            problems,
            settings: settings.clone(),
            declarations,
        }
    }

    /// Takes from an earlier registry the services that are equal there: what changed is then
    /// told by comparing pointers.
    pub fn share(&mut self, before: &Self) {
        for service in &mut self.services {
            let earlier = before.by_host(&service.hostname).iter();
            let is_same =
                |earlier: &&Arc<Service>| Arc::ptr_eq(earlier, service) || *earlier == service;
            if let Some(same) = earlier.into_iter().find(is_same) {
                *service = same.clone();
            }
        }
        self.by_host = by_host(&self.services);
    }

    /// All services, in order of host name, then namespace.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// The services of that host name, one a namespace.
    pub fn by_host(&self, hostname: &str) -> &[Arc<Service>] {
        self.by_host.get(hostname).map_or(&[], Vec::as_slice)
    }

    /// The service that a client in `namespace` means by a host name: its own namespace's,
    /// otherwise the oldest that it can see.
    pub fn resolve(&self, hostname: &str, namespace: &str) -> Option<&Arc<Service>> {
        let candidates = self.by_host(hostname);
        candidates
            .iter()
            .find(|service| service.namespace == namespace)
            .or_else(|| {
                candidates
                    .iter()
                    .filter(|service| service.visibility.includes(namespace))
                    .min_by(|a, b| {
                        let key = |s: &Arc<Service>| {
                            (s.provider == Provider::External, s.created.clone())
                        };
                        key(a).cmp(&key(b))
                    })
            })
    }

    /// All workloads, in order of namespace and name.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter()
    }

    /// The workload of that name.
    pub fn instance(&self, namespace: &str, name: &str) -> Option<&Instance> {
        self.instances.named(namespace, name)
    }

    /// The workload at that address.
    pub fn instance_at(&self, ip: IpAddr) -> Option<&Instance> {
        self.instances.at(ip)
    }

    /// What a workload serves: the service ports that lead to it, ready or not, in order of
    /// target port, then host name.
    pub fn targets(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        ips: &[IpAddr],
    ) -> Vec<ServiceTarget> {
        let instance = ips.iter().find_map(|ip| self.instance_at(*ip));
        let candidates = self.leads_to.candidates(namespace, ips);
        targets::of(
            candidates.map(|position| &self.services[position]),
            &self.pod_ports,
            namespace,
            labels,
            ips,
            instance,
        )
    }

    /// What could not be honoured, in order of object.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

fn by_host(services: &[Arc<Service>]) -> BTreeMap<Arc<str>, Vec<Arc<Service>>> {
    let mut by_host: BTreeMap<Arc<str>, Vec<Arc<Service>>> = BTreeMap::new();
    for service in services {
        by_host
            .entry(service.hostname.clone())
            .or_default()
            .push(service.clone());
    }
    by_host
}

/// A second declaration of the same host adds the ports and endpoints that the first lacks.
fn merge(first: &mut Service, later: &Service) {
    for port in &later.ports {
        if first.port(port.number).is_none() {
            first.ports.push(port.clone());
            if let Some(endpoints) = later.endpoints.get(&port.number) {
                first.endpoints.insert(port.number, endpoints.clone());
            }
        }
    }
    first.identities.extend(later.identities.iter().cloned());
}

/// Cluster IPs for Services without one, automatic addresses for ServiceEntry hosts.
fn give_addresses(services: &mut [Arc<Service>], settings: &Settings) {
    let taken: BTreeSet<Ipv4Addr> = services
        .iter()
        .flat_map(|service| &service.addresses)
        .filter_map(|address| address.parse().ok())
        .collect();
    let wants_cluster_ip = |service: &Service| {
        service.provider == Provider::Kubernetes
            && service.addresses.is_empty()
            && match service.resolution {
                Resolution::ClientSide => true,
                // The mesh's DNS has no CNAMEs: an ExternalName's ports are reached by address.
                Resolution::Alias => !service.ports.is_empty(),
                _ => false,
            }
    };
    // Istio: no address for wildcards, and none where the application's own is used.
    let wants_automatic = |service: &Service| {
        service.provider == Provider::External
            && service.addresses.is_empty()
            && !service.is_wildcard()
            && service.resolution != Resolution::Passthrough
            && service
                .labels
                .get("networking.istio.io/enable-autoallocate-ip")
                .is_none_or(|value| value != "false")
    };
    let key = |service: &Service| format!("{}/{}", service.namespace, service.name);
    for (kubernetes, range) in [(true, settings.service_range), (false, AUTOMATIC_RANGE)] {
        let wants = |service: &Service| {
            if kubernetes {
                wants_cluster_ip(service)
            } else {
                wants_automatic(service)
            }
        };
        let names: Vec<String> = services
            .iter()
            .filter(|s| wants(s))
            .map(|s| key(s))
            .collect();
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let allocated = address::allocate(range, &names, &taken);
        for service in services.iter_mut().filter(|service| wants(service)) {
            if let Some(address) = allocated.get(key(service).as_str()) {
                let service = Arc::make_mut(service);
                if kubernetes {
                    service.addresses.push(address.to_string());
                } else {
                    service.auto_address = Some(IpAddr::V4(*address));
                }
            }
        }
    }
}
