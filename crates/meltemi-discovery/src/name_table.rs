//! NDS: the names that a proxy's DNS answers itself.

use std::collections::HashMap;

use meltemi_registry::{Provider, Service};
use meltemi_xds::nds::{NameInfo, NameTable};

use crate::names::WILDCARD;
use crate::world::scope::Scope;

/// Names of all services in scope that have an address, and of the Pods behind headless ones.
pub fn translate(scope: &Scope<'_>) -> NameTable {
    let mut table = HashMap::new();
    for service in scope.services.values() {
        if service.headless {
            headless(service, &mut table);
            continue;
        }
        let ips: Vec<String> = service.ips(true).iter().map(ToString::to_string).collect();
        if !ips.is_empty() && ips[0] != WILDCARD {
            table.insert(service.hostname.to_string(), info(service, ips));
        }
    }
    // The mesh's own service under another name has that service's addresses.
    for (target, alias) in scope.all_aliases() {
        if let Some(found) = table.get(target) {
            let ips = found.ips.clone();
            table.insert(alias.hostname.to_string(), info(alias, ips));
        }
    }
    NameTable { table }
}

fn info(service: &Service, ips: Vec<String>) -> NameInfo {
    match service.provider {
        Provider::Kubernetes => NameInfo {
            ips,
            registry: "Kubernetes".to_owned(),
            shortname: service.name.clone(),
            namespace: service.namespace.clone(),
            ..Default::default()
        },
        Provider::External => NameInfo {
            ips,
            registry: "External".to_owned(),
            ..Default::default()
        },
    }
}

/// A headless service is all its Pods; a StatefulSet's Pod also has a name of its own.
fn headless(service: &Service, table: &mut HashMap<String, NameInfo>) {
    let mut ips: Vec<String> = Vec::new();
    for endpoint in service.endpoints.values().flatten() {
        let ip = endpoint.target.to_string();
        let workload = &endpoint.workload;
        if workload.subdomain == service.name && !workload.hostname.is_empty() {
            let short = format!("{}.{}", workload.hostname, service.name);
            let host = format!("{}.{}", workload.hostname, service.hostname);
            let entry = table.entry(host).or_insert_with(|| NameInfo {
                ips: Vec::new(),
                registry: "Kubernetes".to_owned(),
                shortname: short,
                namespace: service.namespace.clone(),
                ..Default::default()
            });
            if !entry.ips.contains(&ip) {
                entry.ips.push(ip.clone());
            }
        }
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    if !ips.is_empty() {
        table.insert(service.hostname.to_string(), info(service, ips));
    }
}
