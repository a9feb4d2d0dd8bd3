//! Destinations of VirtualServices: whether host and port exist, and whether a gateway's route
//! goes past the subsets that sidecars use.

use std::collections::{BTreeMap, BTreeSet};

use meltemi_api::networking::{Destination, VirtualService};
use meltemi_api::{FieldPath, nearest};

use crate::code::{PORT_SELECTOR_REQUIRED, REFERENCED_RESOURCE_NOT_FOUND, SUBSET_WITHOUT_EFFECT};
use crate::hosts::Hosts;
use crate::report::at;
use crate::{Analyzer, Index, Report, Resource};

pub struct DestinationHost;

impl Analyzer for DestinationHost {
    fn name(&self) -> &'static str {
        "virtualservice.DestinationHostAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that the hosts and ports of VirtualServices' destinations exist"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let hosts = Hosts::of(index);
        let splitters = splitters(index);
        for (resource, service) in index.of::<VirtualService>() {
            for (field, destination) in destinations(service) {
                check(&hosts, resource, service, field, destination, report);
            }
            past_subsets(&splitters, resource, service, report);
        }
    }
}

/// All destinations with their paths, mirrors included.
pub fn destinations(service: &VirtualService) -> Vec<(FieldPath, &Destination)> {
    let mut all = Vec::new();
    for (rule, http) in service.http.iter().enumerate() {
        let path = at!(spec.http[rule]);
        for (route, to) in http.route.iter().enumerate() {
            let path = path.field("route").index(route).field("destination");
            all.push((path, &to.destination));
        }
        if let Some(mirror) = &http.mirror {
            all.push((path.field("mirror"), mirror));
        }
        for (mirror, to) in http.mirrors.iter().enumerate() {
            let path = path.field("mirrors").index(mirror).field("destination");
            all.push((path, &to.destination));
        }
    }
    for (rule, tls) in service.tls.iter().enumerate() {
        for (route, to) in tls.route.iter().enumerate() {
            all.push((
                at!(spec.tls[rule].route[route].destination),
                &to.destination,
            ));
        }
    }
    for (rule, tcp) in service.tcp.iter().enumerate() {
        for (route, to) in tcp.route.iter().enumerate() {
            all.push((
                at!(spec.tcp[rule].route[route].destination),
                &to.destination,
            ));
        }
    }
    all
}

fn check(
    hosts: &Hosts<'_>,
    resource: &Resource,
    owner: &VirtualService,
    field: FieldPath,
    to: &Destination,
    report: &mut Report,
) {
    let namespace = resource.namespace();
    let Some(service) = hosts.find(namespace, &owner.export_to, &to.host) else {
        let completed = format!("{}.svc.cluster.local", to.host);
        let remedy = match nearest(&to.host, hosts.visible(namespace)) {
            Some(near) => format!("did you mean {near:?}?"),
            None if hosts
                .find(namespace, &owner.export_to, &completed)
                .is_some() =>
            {
                format!("a name with a dot is not completed: write {completed}")
            }
            None => {
                "apply its Service or a ServiceEntry, or export it to this namespace".to_owned()
            }
        };
        let text = format!(
            "namespace {namespace} sees no service {:?}; requests to it fail",
            to.host
        );
        return report.add(
            &REFERENCED_RESOURCE_NOT_FOUND,
            resource,
            field.field("host"),
            text,
            remedy,
        );
    };
    let numbers: Vec<String> = service
        .ports
        .iter()
        .map(|port| port.number.to_string())
        .collect();
    match &to.port {
        None if numbers.len() > 1 => report.add(
            &PORT_SELECTOR_REQUIRED,
            resource,
            field,
            format!(
                "{} has the ports {}, and the destination does not say which",
                to.host,
                numbers.join(", ")
            ),
            "set port.number",
        ),
        Some(port) if !service.ports.iter().any(|p| p.number == port.number) => report.add(
            &REFERENCED_RESOURCE_NOT_FOUND,
            resource,
            field.field("port").field("number"),
            format!("{} has no port {}", to.host, port.number),
            format!("use one of its ports: {}", numbers.join(", ")),
        ),
        _ => {}
    }
}

/// The VirtualServices that split their own hosts into subsets, by host as it is written.
fn splitters(index: &Index) -> BTreeMap<&str, Vec<&Resource>> {
    let mut all: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
    for (resource, service) in index.of::<VirtualService>() {
        let routes = service.http.iter().flat_map(|http| &http.route);
        let split: BTreeSet<&str> = routes
            .map(|route| &route.destination)
            .filter(|to| !to.subset.is_empty() && service.hosts.contains(&to.host))
            .map(|to| to.host.as_str())
            .collect();
        for host in split {
            all.entry(host).or_default().push(resource);
        }
    }
    all
}

/// Routes of gateways to a host as a whole, although another VirtualService splits it: its
/// subsets count for sidecars, not for the gateway.
fn past_subsets(
    splitters: &BTreeMap<&str, Vec<&Resource>>,
    resource: &Resource,
    service: &VirtualService,
    report: &mut Report,
) {
    if service.gateways.is_empty() {
        return;
    }
    for (rule, http) in service.http.iter().enumerate() {
        for (route, to) in http.route.iter().enumerate() {
            let host = &to.destination.host;
            let mut others = splitters.get(host.as_str()).into_iter().flatten();
            let other = others.find(|other| !std::ptr::eq(**other, resource));
            if let Some(other) = other.filter(|_| to.destination.subset.is_empty()) {
                report.add(
                    &SUBSET_WITHOUT_EFFECT,
                    resource,
                    at!(spec.http[rule].route[route].destination),
                    format!(
                        "the subsets that VirtualService {} chooses for {host} do not count for the gateway",
                        other.full_name()
                    ),
                    "repeat the subsets here, or bind one VirtualService to gateway and mesh",
                );
            }
        }
    }
}
