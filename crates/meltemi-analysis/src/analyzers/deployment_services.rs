//! Services of one workload that contradict each other.

use std::collections::{BTreeMap, BTreeSet};

use meltemi_api::k8s;
use meltemi_api::k8s::IntOrString;

use crate::code::{CONFLICTING_PORTS, MULTIPLE_SERVICES};
use crate::injection::is_in_mesh;
use crate::report::at;
use crate::selector::selects;
use crate::workload::Workload;
use crate::{Analyzer, Index, Report, Resource};

pub struct DeploymentServices;

/// Service names by what they disagree in.
type Opinions = BTreeMap<String, BTreeSet<String>>;

impl Analyzer for DeploymentServices {
    fn name(&self) -> &'static str {
        "deployment.MultiServiceAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that the Services of a workload agree about its ports"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for resource in index.kind("apps", "Deployment") {
            let workload = Workload::of_template(resource);
            if !is_in_mesh(index, &workload) {
                continue;
            }
            let ports = ports(index, &workload);
            let mut transports: BTreeMap<i32, Opinions> = BTreeMap::new();
            let mut numbers: BTreeMap<String, Opinions> = BTreeMap::new();
            for (service, port) in ports {
                let transport = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
                let name = service.name.name.clone();
                let opinions = transports.entry(port.port).or_default();
                opinions.entry(transport).or_default().insert(name.clone());
                let opinions = numbers.entry(target(port)).or_default();
                opinions
                    .entry(port.port.to_string())
                    .or_default()
                    .insert(name);
            }
            for (port, opinions) in transports.iter().filter(|(_, o)| o.len() > 1) {
                report.add(
                    &MULTIPLE_SERVICES,
                    resource,
                    at!(metadata.name),
                    format!("its Services use port {port} for {}", show(opinions)),
                    "use distinct ports",
                );
            }
            for (target, opinions) in numbers.iter().filter(|(_, o)| o.len() > 1) {
                report.add(
                    &CONFLICTING_PORTS,
                    resource,
                    at!(metadata.name),
                    format!(
                        "its Services reach targetPort {target} by different ports: {}",
                        show(opinions)
                    ),
                    "use one port",
                );
            }
        }
    }
}

fn ports<'a>(
    index: &'a Index,
    workload: &Workload<'_>,
) -> Vec<(&'a Resource, &'a k8s::ServicePort)> {
    index
        .of::<k8s::Service>()
        .filter(|(resource, _)| resource.namespace() == workload.namespace())
        .filter_map(|(resource, service)| Some((resource, service.spec.as_ref()?)))
        .filter(|(_, spec)| {
            // A Service without selector has endpoints that somebody else writes.
            let selector = spec.selector.as_ref().filter(|labels| !labels.is_empty());
            selector.is_some_and(|labels| selects(labels, &workload.labels))
        })
        .flat_map(|(resource, spec)| {
            let ports = spec.ports.iter().flatten();
            ports.map(move |port| (resource, port))
        })
        .collect()
}

/// The container port, which is the Service's own when it names none.
fn target(port: &k8s::ServicePort) -> String {
    match &port.target_port {
        Some(IntOrString::Int(number)) if *number != 0 => number.to_string(),
        Some(IntOrString::String(name)) if !name.is_empty() => name.clone(),
        _ => port.port.to_string(),
    }
}

/// `80 (a, b) and 8080 (c)`.
fn show(opinions: &Opinions) -> String {
    let parts: Vec<String> = opinions
        .iter()
        .map(|(opinion, services)| {
            let services: Vec<&str> = services.iter().map(String::as_str).collect();
            format!("{opinion} ({})", services.join(", "))
        })
        .collect();
    parts.join(" and ")
}
