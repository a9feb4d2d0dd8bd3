//! Which services a namespace sees: Services and ServiceEntries with their `exportTo`.

use std::collections::BTreeMap;

use meltemi_api::k8s;
use meltemi_api::networking::ServiceEntry;
use meltemi_registry::Protocol;

use crate::selector::Labels;
use crate::{Index, Resource};

/// Annotation of a Service with the namespaces that see it.
const EXPORT_TO: &str = "networking.istio.io/exportTo";
/// Scope of what all namespaces see.
const EVERYWHERE: &str = "*";

/// A name in full as Istio completes it: one without a dot is a service of the namespace.
pub fn fqdn(host: &str, namespace: &str) -> String {
    if host.is_empty() || host.starts_with('*') || host.contains('.') {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.cluster.local")
    }
}

/// Whether a name, possibly a wildcard, covers a host; `*.a.b` covers `x.a.b` and `*.x.a.b`.
pub fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.strip_prefix('*').unwrap_or(host).ends_with(suffix),
        None => pattern == host,
    }
}

/// The namespaces that an `exportTo` names, seen from its own; all of them when it is empty.
pub fn scopes(export_to: &[String], namespace: &str) -> Vec<String> {
    if export_to.is_empty() || export_to.iter().any(|to| to == EVERYWHERE) {
        return vec![EVERYWHERE.to_owned()];
    }
    export_to
        .iter()
        .map(|to| if to == "." { namespace } else { to }.to_owned())
        .collect()
}

/// A port of a service.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// Number.
    pub number: u32,
    /// What it speaks.
    pub protocol: Protocol,
}

/// A Service, or a host of a ServiceEntry.
#[derive(Debug)]
pub struct Service<'a> {
    /// Where it comes from.
    pub resource: &'a Resource,
    /// Name in full; may be a wildcard.
    pub host: String,
    /// Ports.
    pub ports: Vec<Port>,
    /// Labels of its workloads, in its namespace; none when its endpoints are found otherwise.
    pub selector: Option<Labels>,
}

/// All services by scope and name.
#[derive(Debug)]
pub struct Hosts<'a> {
    services: Vec<Service<'a>>,
    by_scope: BTreeMap<(String, String), usize>,
}

impl<'a> Hosts<'a> {
    /// The services of an index.
    pub fn of(index: &'a Index) -> Self {
        let mut hosts = Self {
            services: Vec::new(),
            by_scope: BTreeMap::new(),
        };
        for (resource, entry) in index.of::<ServiceEntry>() {
            hosts.entry(resource, entry);
        }
        for (resource, service) in index.of::<k8s::Service>() {
            hosts.service(resource, service);
        }
        hosts
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Service<'a>> {
        self.services.iter()
    }

    fn entry(&mut self, resource: &'a Resource, entry: &ServiceEntry) {
        let ports: Vec<Port> = entry
            .ports
            .iter()
            .map(|port| Port {
                number: port.number,
                protocol: Protocol::parse(&port.protocol).unwrap_or(Protocol::Sniffed),
            })
            .collect();
        for host in &entry.hosts {
            self.add(
                Service {
                    resource,
                    host: fqdn(host, resource.namespace()),
                    ports: ports.clone(),
                    selector: entry
                        .workload_selector
                        .as_ref()
                        .map(|selector| selector.labels.clone()),
                },
                scopes(&entry.export_to, resource.namespace()),
            );
        }
    }

    fn service(&mut self, resource: &'a Resource, service: &k8s::Service) {
        let spec = service.spec.as_ref();
        let ports = spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let ports = ports.filter_map(|port| {
            let number = u16::try_from(port.port).ok()?;
            Some(Port {
                number: number.into(),
                protocol: Protocol::of_kubernetes(port),
            })
        });
        let export_to: Vec<String> = resource
            .annotations
            .get(EXPORT_TO)
            .into_iter()
            .flat_map(|list| list.split(','))
            .map(|to| to.trim().to_owned())
            .filter(|to| !to.is_empty())
            .collect();
        self.add(
            Service {
                resource,
                host: fqdn(&resource.name.name, resource.namespace()),
                ports: ports.collect(),
                selector: spec
                    .and_then(|spec| spec.selector.clone())
                    .filter(|selector| !selector.is_empty()),
            },
            scopes(&export_to, resource.namespace()),
        );
    }

    fn add(&mut self, service: Service<'a>, scopes: Vec<String>) {
        let position = self.services.len();
        for scope in scopes {
            self.by_scope
                .insert((scope, service.host.clone()), position);
        }
        self.services.push(service);
    }

    /// The service that `host` means in an object of `namespace` that is in force where
    /// `export_to` says: in its own namespace when that is empty.
    pub fn find(&self, namespace: &str, export_to: &[String], host: &str) -> Option<&Service<'a>> {
        let full = fqdn(host, namespace);
        let mut seen_from = vec![EVERYWHERE.to_owned()];
        if export_to.is_empty() {
            seen_from.push(namespace.to_owned());
        } else {
            seen_from.extend(scopes(export_to, namespace));
        }
        for scope in seen_from {
            if let Some(position) = self.by_scope.get(&(scope, full.clone())) {
                return Some(&self.services[*position]);
            }
        }
        self.by_scope
            .iter()
            .filter(|((scope, _), _)| scope == EVERYWHERE || scope == namespace)
            .filter(|((_, name), _)| name.starts_with('*') || full.starts_with('*'))
            .find(|((_, name), _)| covers(name, &full) || covers(&full, name))
            .map(|(_, position)| &self.services[*position])
    }

    /// Names that a namespace sees and that a user may have meant, short ones for its own.
    pub fn visible(&self, namespace: &str) -> Vec<&str> {
        let own = format!(".{namespace}.svc.cluster.local");
        self.by_scope
            .keys()
            .filter(|(scope, _)| scope == EVERYWHERE || scope == namespace)
            .map(|(_, host)| host.strip_suffix(own.as_str()).unwrap_or(host))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_and_compared_as_istio_does() {
        assert_eq!(fqdn("a", "ns"), "a.ns.svc.cluster.local");
        assert_eq!(fqdn("a.ns", "x"), "a.ns");
        assert!(covers("*.b", "a.b") && covers("*", "x") && covers("*.b", "*.a.b"));
        assert!(!covers("*.b", "b") && !covers("a.b", "*.b"));
        assert_eq!(scopes(&[".".into()], "ns"), ["ns"]);
        assert_eq!(scopes(&[], "ns"), ["*"]);
    }
}
