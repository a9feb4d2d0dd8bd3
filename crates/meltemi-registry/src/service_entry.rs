//! ServiceEntries: one service a host.

use std::collections::BTreeMap;

use meltemi_api::Meta;
use meltemi_api::networking::{ServiceEntry, ServiceLocation, ServiceResolution};

use crate::instances::Instances;
use crate::kube::endpoints_of;
use crate::pods::{self, Instance, Source};
use crate::{
    Endpoint, Health, Port, Problem, Protocol, Provider, Resolution, Service, Settings, Target,
};

/// The services that an entry declares; their automatic addresses may still be missing.
pub fn services(
    meta: &Meta,
    entry: &ServiceEntry,
    instances: &Instances,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Vec<Service> {
    entry
        .hosts
        .iter()
        .map(|host| service(host, meta, entry, instances, settings, problems))
        .collect()
}

fn service(
    host: &str,
    meta: &Meta,
    entry: &ServiceEntry,
    instances: &Instances,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Service {
    let selector = entry
        .workload_selector
        .as_ref()
        .map(|selector| selector.labels.clone())
        .unwrap_or_default();
    let mut service = Service {
        hostname: host.into(),
        name: host.to_owned(),
        namespace: meta.namespace.clone(),
        object: meta.key(),
        provider: Provider::External,
        labels: meta.labels.clone(),
        ports: Vec::new(),
        resolution: match entry.resolution {
            ServiceResolution::None => Resolution::Passthrough,
            ServiceResolution::Static => Resolution::ClientSide,
            ServiceResolution::Dns => Resolution::Dns,
            ServiceResolution::DnsRoundRobin => Resolution::DnsRoundRobin,
            ServiceResolution::DynamicDns => Resolution::DynamicDns,
        },
        addresses: entry.addresses.clone(),
        auto_address: None,
        external: entry.location == ServiceLocation::MeshExternal,
        external_name: None,
        headless: false,
        visibility: settings.visibility(
            entry.export_to.iter().map(String::as_str).collect(),
            &meta.namespace,
        ),
        selector: selector.clone(),
        identities: entry.subject_alt_names.iter().cloned().collect(),
        endpoints: BTreeMap::new(),
        created: crate::created(meta),
    };
    let inline: Vec<Instance> = entry
        .endpoints
        .iter()
        .enumerate()
        .map(|(position, endpoint)| {
            // Istio names them by position where there is more than one address to know apart.
            let name = format!("{}-{position}", meta.name);
            pods::from_entry(&name, &meta.namespace, endpoint, settings)
        })
        .collect();
    for port in &entry.ports {
        let Ok(number) = u16::try_from(port.number) else {
            problems.push(Problem::new(
                meta,
                "spec.ports",
                format!("port {} is not a port number; use 1 to 65535", port.number),
            ));
            continue;
        };
        let protocol = if port.protocol.is_empty() {
            Protocol::of_service_port(number, &port.name, "TCP", None)
        } else {
            Protocol::parse(&port.protocol).unwrap_or(Protocol::Sniffed)
        };
        service.ports.push(Port {
            name: port.name.clone(),
            number,
            protocol,
        });
        let target = match u16::try_from(port.target_port) {
            Ok(0) | Err(_) => number,
            Ok(target) => target,
        };
        let port_of = |instance: &Instance| match instance.source {
            Source::WorkloadEntry => instance
                .named_ports
                .get(&port.name)
                .copied()
                .unwrap_or(target),
            Source::Pod => target,
        };
        let selected = instances
            .select(&meta.namespace, &selector)
            .chain(&inline)
            .flat_map(|instance| endpoints_of(instance, port_of(instance)))
            .filter(|endpoint| endpoint.health == Health::Ready);
        let mut endpoints: Vec<Endpoint> = selected.collect();
        if endpoints.is_empty()
            && entry.workload_selector.is_none()
            && matches!(
                service.resolution,
                Resolution::Dns | Resolution::DnsRoundRobin
            )
        {
            endpoints.push(by_its_own_name(host, target, meta, settings));
        }
        crate::add_endpoints(&mut service, number, endpoints);
    }
    service
}

/// DNS without endpoints: the host itself is resolved.
fn by_its_own_name(host: &str, port: u16, meta: &Meta, settings: &Settings) -> Endpoint {
    let nameless = meltemi_api::networking::WorkloadEntry {
        address: host.to_owned(),
        ..Default::default()
    };
    let instance = pods::from_entry(&meta.name, &meta.namespace, &nameless, settings);
    Endpoint {
        target: Target::parse(host),
        port,
        weight: 1,
        health: Health::Ready,
        workload: instance.workload,
    }
}
