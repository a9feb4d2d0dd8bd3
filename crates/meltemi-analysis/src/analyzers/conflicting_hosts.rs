//! VirtualServices for sidecars that have rules for the same host.

use std::collections::{BTreeMap, BTreeSet};

use meltemi_api::networking::VirtualService;

use crate::code::CONFLICTING_MESH_GATEWAY_HOSTS;
use crate::hosts::{covers, fqdn, scopes};
use crate::report::at;
use crate::{Analyzer, Index, Report, Resource};

pub struct ConflictingHosts;

/// A host of a VirtualService: the object and the host's place in it.
type Owner<'a> = (&'a Resource, usize);

impl Analyzer for ConflictingHosts {
    fn name(&self) -> &'static str {
        "virtualservice.ConflictingMeshGatewayHostsAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that no two VirtualServices for sidecars have rules for one host"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let mut by_host: BTreeMap<(String, String), Vec<Owner<'_>>> = BTreeMap::new();
        for (resource, service) in index.of::<VirtualService>() {
            let gateways = &service.gateways;
            if !gateways.is_empty() && !gateways.iter().any(|gateway| gateway == "mesh") {
                continue;
            }
            for scope in scopes(&service.export_to, resource.namespace()) {
                for (position, host) in service.hosts.iter().enumerate() {
                    by_host
                        .entry((scope.clone(), fqdn(host, resource.namespace())))
                        .or_default()
                        .push((resource, position));
                }
            }
        }
        let mut reported = BTreeSet::new();
        for ((scope, host), own) in &by_host {
            let mut owners = own.clone();
            if scope != "*" {
                let everywhere = by_host.iter().filter(|((other, name), _)| {
                    other == "*" && (covers(name, host) || covers(host, name))
                });
                owners.extend(everywhere.flat_map(|(_, owners)| owners.iter().copied()));
            }
            let names: BTreeSet<String> = owners
                .iter()
                .map(|(resource, _)| resource.full_name())
                .collect();
            if names.len() < 2 {
                continue;
            }
            for (resource, position) in owners {
                if !reported.insert((&resource.name, &resource.cluster)) {
                    continue;
                }
                let own_name = resource.full_name();
                let others: Vec<&str> = names
                    .iter()
                    .filter(|name| **name != own_name)
                    .map(String::as_str)
                    .collect();
                report.add(
                    &CONFLICTING_MESH_GATEWAY_HOSTS,
                    resource,
                    at!(spec.hosts[position]),
                    format!(
                        "{host} has rules in {} too; which of them apply is not defined",
                        others.join(", ")
                    ),
                    "put the rules of one host into one VirtualService",
                );
            }
        }
    }
}
