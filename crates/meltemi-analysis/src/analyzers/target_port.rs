//! Target ports by a name that no container port has.

use std::collections::BTreeSet;

use meltemi_api::k8s::{IntOrString, Service};
use meltemi_api::nearest;

use crate::code::TARGET_PORT_NOT_FOUND;
use crate::report::at;
use crate::selector::selects;
use crate::workload::{Workload, workloads};
use crate::{Analyzer, Index, Report};

pub struct TargetPort;

impl Analyzer for TargetPort {
    fn name(&self) -> &'static str {
        "service.TargetPortAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that named target ports are ports of the Service's workloads"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let workloads = workloads(index);
        for (resource, service) in index.of::<Service>() {
            let Some(spec) = &service.spec else { continue };
            let Some(selector) = spec.selector.as_ref().filter(|labels| !labels.is_empty()) else {
                continue;
            };
            let selected: Vec<&Workload<'_>> = workloads
                .iter()
                .filter(|workload| workload.namespace() == resource.namespace())
                .filter(|workload| selects(selector, &workload.labels))
                .collect();
            let names = port_names(&selected);
            for (position, port) in spec.ports.iter().flatten().enumerate() {
                let Some(IntOrString::String(name)) = &port.target_port else {
                    continue;
                };
                if selected.is_empty()
                    || names.contains(name.as_str())
                    || name.parse::<u16>().is_ok()
                {
                    continue;
                }
                let remedy = match nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => "name the container port so, or use its number".to_owned(),
                };
                report.add(
                    &TARGET_PORT_NOT_FOUND,
                    resource,
                    at!(spec.ports[position].targetPort),
                    format!("no container of its workloads has a port named {name:?}; port {} has no endpoints", port.port),
                    remedy,
                );
            }
        }
    }
}

fn port_names<'a>(workloads: &[&Workload<'a>]) -> BTreeSet<&'a str> {
    workloads
        .iter()
        .flat_map(|workload| workload.containers())
        .flat_map(|container| container.get("ports").items())
        .map(|port| port.get("name").text())
        .filter(|name| !name.is_empty())
        .collect()
}
