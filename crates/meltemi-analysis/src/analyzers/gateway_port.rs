//! Gateways that select no workload, or whose ports its Service does not have.

use std::collections::BTreeSet;

use meltemi_api::k8s::{IntOrString, Service};
use meltemi_api::networking::Gateway;

use crate::code::{GATEWAY_PORT_NOT_ON_SERVICE, REFERENCED_RESOURCE_NOT_FOUND};
use crate::report::at;
use crate::selector::{selects, show};
use crate::workload::{Workload, workloads};
use crate::{Analyzer, Index, Report, Resource};

pub struct GatewayPort;

impl Analyzer for GatewayPort {
    fn name(&self) -> &'static str {
        "gateway.IngressGatewayPortAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that the Service of a Gateway's workload has the Gateway's ports"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let workloads = workloads(index);
        for (resource, gateway) in index.of::<Gateway>() {
            let selected: Vec<&Workload<'_>> = workloads
                .iter()
                .filter(|workload| selects(&gateway.selector, &workload.labels))
                .collect();
            if selected.is_empty() {
                selects_nothing(resource, gateway, report);
                continue;
            }
            let ports = ports(index, &selected);
            for (position, server) in gateway.servers.iter().enumerate() {
                let number = server.port.as_ref().map(|port| port.number);
                if let Some(number) = number.filter(|number| !ports.contains(number)) {
                    report.add(
                        &GATEWAY_PORT_NOT_ON_SERVICE,
                        resource,
                        at!(spec.servers[position].port.number),
                        format!(
                            "no Service of the workloads with {} has port {number}; it cannot be reached through a Service",
                            show(&gateway.selector)
                        ),
                        "add the port to the gateway's Service, or use one of its ports",
                    );
                }
            }
        }
    }
}

/// Says that no workload has the labels of a Gateway.
pub fn selects_nothing(resource: &Resource, gateway: &Gateway, report: &mut Report) {
    report.add(
        &REFERENCED_RESOURCE_NOT_FOUND,
        resource,
        at!(spec.selector),
        format!("no workload has the labels {}", show(&gateway.selector)),
        "correct the selector, or start the gateway",
    );
}

/// The TCP ports, and the container ports behind them, of the Services of the workloads.
fn ports(index: &Index, workloads: &[&Workload<'_>]) -> BTreeSet<u32> {
    let mut ports = BTreeSet::new();
    for (resource, service) in index.of::<Service>() {
        let Some(spec) = &service.spec else { continue };
        let selector = spec.selector.clone().unwrap_or_default();
        let is_theirs = workloads.iter().any(|workload| {
            workload.namespace() == resource.namespace() && selects(&selector, &workload.labels)
        });
        if !is_theirs {
            continue;
        }
        for port in spec.ports.iter().flatten() {
            if port.protocol.as_deref().unwrap_or("TCP") != "TCP" {
                continue;
            }
            ports.extend(u32::try_from(port.port));
            if let Some(IntOrString::Int(target)) = &port.target_port {
                ports.extend(u32::try_from(*target));
            }
        }
    }
    ports
}
