//! References between objects that lead nowhere, with Istio's message codes. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meltemi_api::networking::{
    Destination, DestinationRule, Gateway, ServiceEntry, VirtualService,
};
use meltemi_api::{FieldPath, Finding, Meta, Object, ObjectKey, did_you_mean, k8s};

use crate::{ConfigError, Objects};

/// A referenced thing does not exist.
const NOT_FOUND: &str = "IST0101";
/// A destination with several ports names none.
const PORT_NEEDED: &str = "IST0112";
/// Two VirtualServices of the sidecars name the same host.
const CONFLICTING_HOSTS: &str = "IST0109";

/// What refers to something that is not there, and VirtualServices that contradict each other.
/// The line is that of the object; files are not read again for the field's own.
pub fn references(objects: &Objects) -> Vec<ConfigError> {
    let hosts = Hosts::of(objects);
    let mut out = Vec::new();
    for object in objects.iter() {
        let mut findings = Vec::new();
        if let meltemi_api::Spec::VirtualService(spec) = &object.spec {
            gateways(objects, &object.meta, spec, &mut findings);
            destinations(spec, &mut |path, to| {
                hosts.check(&object.meta, &path, to, &mut findings)
            });
        }
        out.extend(findings.into_iter().map(|finding| at(object, finding)));
    }
    out.extend(conflicting_hosts(objects));
    out
}

fn at(object: &Arc<Object>, finding: Finding) -> ConfigError {
    let origin = object.meta.origin.as_ref();
    let position = crate::yaml::Position {
        line: origin.map_or(0, |o| o.line),
        column: 1,
    };
    let file = origin.map(|o| Arc::clone(&o.file));
    ConfigError::of_finding(finding, file, position, object.key())
}

fn gateways(objects: &Objects, meta: &Meta, spec: &VirtualService, out: &mut Vec<Finding>) {
    let at_http = spec.http.iter().enumerate().flat_map(|(route, http)| {
        http.matches.iter().enumerate().map(move |(index, m)| {
            let at = FieldPath::spec()
                .field("http")
                .index(route)
                .field("match")
                .index(index);
            (at.field("gateways"), &m.gateways)
        })
    });
    let all = std::iter::once((FieldPath::spec().field("gateways"), &spec.gateways)).chain(at_http);
    for (path, names) in all {
        for (index, name) in names.iter().enumerate().filter(|(_, name)| *name != "mesh") {
            let (namespace, name) = match name.split_once('/') {
                Some((".", name)) => (meta.namespace.as_str(), name),
                Some(pair) => pair,
                // The legacy form `gateway.namespace.svc.cluster.local`.
                None => match name.split_once('.') {
                    Some((name, rest)) => (rest.split('.').next().unwrap_or_default(), name),
                    None => (meta.namespace.as_str(), name.as_str()),
                },
            };
            if objects.find::<Gateway>(namespace, name).is_none() {
                let known: Vec<&str> = objects
                    .of::<Gateway>()
                    .filter(|(m, _)| m.namespace == namespace)
                    .map(|(m, _)| m.name.as_str())
                    .collect();
                let remedy = if known.is_empty() {
                    "apply the Gateway first".to_owned()
                } else {
                    did_you_mean(name, known)
                };
                let message = format!("there is no Gateway {namespace}/{name}");
                out.push(missing(path.index(index), message, remedy));
            }
        }
    }
}

fn missing(path: FieldPath, message: String, remedy: impl Into<String>) -> Finding {
    Finding::warning(path, message, remedy).with_code(NOT_FOUND)
}

/// All destinations of a VirtualService, with their paths.
fn destinations(spec: &VirtualService, visit: &mut dyn FnMut(FieldPath, &Destination)) {
    let at = FieldPath::spec();
    for (index, http) in spec.http.iter().enumerate() {
        let at = at.field("http").index(index);
        for (index, route) in http.route.iter().enumerate() {
            visit(
                at.field("route").index(index).field("destination"),
                &route.destination,
            );
        }
        if let Some(mirror) = &http.mirror {
            visit(at.field("mirror"), mirror);
        }
        for (index, mirror) in http.mirrors.iter().enumerate() {
            visit(
                at.field("mirrors").index(index).field("destination"),
                &mirror.destination,
            );
        }
    }
    for (index, tls) in spec.tls.iter().enumerate() {
        let at = at.field("tls").index(index).field("route");
        for (index, route) in tls.route.iter().enumerate() {
            visit(at.index(index).field("destination"), &route.destination);
        }
    }
    for (index, tcp) in spec.tcp.iter().enumerate() {
        let at = at.field("tcp").index(index).field("route");
        for (index, route) in tcp.route.iter().enumerate() {
            visit(at.index(index).field("destination"), &route.destination);
        }
    }
}

/// Every host that can be a destination.
struct Hosts<'a> {
    /// Fully qualified names and names of ServiceEntries.
    exact: BTreeSet<String>,
    /// `*.` names of ServiceEntries, without the star.
    suffixes: Vec<&'a str>,
    /// Ports of Services and ServiceEntries by name.
    ports: BTreeMap<String, BTreeSet<u32>>,
    /// Subsets by qualified host.
    subsets: BTreeMap<String, BTreeSet<&'a str>>,
}

/// A name as it is in full, seen from a namespace.
fn qualify(host: &str, namespace: &str) -> String {
    if host.contains('.') {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.cluster.local")
    }
}

impl<'a> Hosts<'a> {
    fn of(objects: &'a Objects) -> Self {
        let mut hosts = Self {
            exact: BTreeSet::new(),
            suffixes: Vec::new(),
            ports: BTreeMap::new(),
            subsets: BTreeMap::new(),
        };
        for (meta, service) in objects.of::<k8s::Service>() {
            let host = qualify(&meta.name, &meta.namespace);
            let ports = service
                .spec
                .iter()
                .flat_map(|spec| spec.ports.iter().flatten());
            let ports = ports.filter_map(|port| u32::try_from(port.port).ok());
            hosts.ports.entry(host.clone()).or_default().extend(ports);
            hosts.exact.insert(host);
        }
        for (meta, entry) in objects.of::<ServiceEntry>() {
            for host in &entry.hosts {
                match host.strip_prefix('*') {
                    Some(suffix) => hosts.suffixes.push(suffix),
                    None => {
                        for name in [host.clone(), qualify(host, &meta.namespace)] {
                            let ports = entry.ports.iter().map(|port| port.number);
                            hosts.ports.entry(name.clone()).or_default().extend(ports);
                            hosts.exact.insert(name);
                        }
                    }
                }
            }
        }
        for (meta, rule) in objects.of::<DestinationRule>() {
            hosts
                .subsets
                .entry(qualify(&rule.host, &meta.namespace))
                .or_default()
                .extend(rule.subsets.iter().map(|subset| subset.name.as_str()));
        }
        hosts
    }

    /// The forms a destination can mean: as written, and short forms with namespace.
    fn candidates(host: &str, namespace: &str) -> [String; 3] {
        [
            qualify(host, namespace),
            format!("{host}.svc.cluster.local"),
            format!("{}.cluster.local", host.trim_end_matches('.')),
        ]
    }

    fn check(&self, meta: &Meta, path: &FieldPath, to: &Destination, out: &mut Vec<Finding>) {
        let candidates = Self::candidates(&to.host, &meta.namespace);
        let known = candidates.iter().any(|host| self.exact.contains(host))
            || self.suffixes.iter().any(|suffix| to.host.ends_with(suffix));
        if !known {
            let remedy = "apply its Service or a ServiceEntry; until then requests to it fail";
            out.push(missing(
                path.field("host"),
                format!(
                    "there is no service {:?} for namespace {}",
                    to.host, meta.namespace
                ),
                remedy,
            ));
            return;
        }
        self.check_port(&candidates, path, to, out);
        if to.subset.is_empty() {
            return;
        }
        let subsets: BTreeSet<&str> = candidates
            .iter()
            .filter_map(|host| self.subsets.get(host))
            .flatten()
            .copied()
            .collect();
        if !subsets.contains(to.subset.as_str()) {
            let remedy = if subsets.is_empty() {
                format!("apply a DestinationRule for {} with this subset", to.host)
            } else {
                did_you_mean(&to.subset, subsets)
            };
            out.push(missing(
                path.field("subset"),
                format!("the host {:?} has no subset {:?}", to.host, to.subset),
                remedy,
            ));
        }
    }
}

impl Hosts<'_> {
    /// A named port must exist; a service with several needs one to be named.
    fn check_port(
        &self,
        candidates: &[String],
        path: &FieldPath,
        to: &Destination,
        out: &mut Vec<Finding>,
    ) {
        let Some(ports) = candidates.iter().find_map(|host| self.ports.get(host)) else {
            return;
        };
        let list: Vec<String> = ports.iter().map(u32::to_string).collect();
        match &to.port {
            Some(port) if !ports.contains(&port.number) => out.push(missing(
                path.field("port"),
                format!("the host {:?} has no port {}", to.host, port.number),
                format!("use one of {}", list.join(", ")),
            )),
            None if ports.len() > 1 => out.push(
                Finding::warning(
                    path.clone(),
                    format!("the host {:?} has the ports {}", to.host, list.join(", ")),
                    "say which with port.number",
                )
                .with_code(PORT_NEEDED),
            ),
            _ => {}
        }
    }
}

/// Hosts that several VirtualServices without gateways name: the order of their rules is not
/// defined.
fn conflicting_hosts(objects: &Objects) -> Vec<ConfigError> {
    let mut by_host: BTreeMap<String, Vec<(ObjectKey, usize)>> = BTreeMap::new();
    for (meta, spec) in objects.of::<VirtualService>() {
        if spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh") {
            for (index, host) in spec.hosts.iter().enumerate() {
                let key = ObjectKey::new(meta.kind, &meta.namespace, &meta.name);
                by_host
                    .entry(qualify(host, &meta.namespace))
                    .or_default()
                    .push((key, index));
            }
        }
    }
    let mut out = Vec::new();
    for (host, owners) in by_host.into_iter().filter(|(_, owners)| owners.len() > 1) {
        for (key, index) in &owners {
            let Some(object) = objects.get(key) else {
                continue;
            };
            let others: Vec<String> = owners
                .iter()
                .filter(|(other, _)| other != key)
                .map(|(other, _)| format!("{}/{}", other.namespace, other.name))
                .collect();
            let path = FieldPath::spec().field("hosts").index(*index);
            let message = format!("{host} has rules in {} too", others.join(", "));
            let remedy = "put the rules of one host into one VirtualService";
            out.push(at(
                object,
                Finding::warning(path, message, remedy).with_code(CONFLICTING_HOSTS),
            ));
        }
    }
    out
}
