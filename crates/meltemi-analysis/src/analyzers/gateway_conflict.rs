//! Gateways that want the same port and host of the same workload.

use meltemi_api::networking::{Gateway, Server};

use crate::code::CONFLICTING_GATEWAYS;
use crate::hosts::covers;
use crate::report::at;
use crate::selector::selects;
use crate::workload::{Workload, workloads};
use crate::{Analyzer, Index, Report};

pub struct GatewayConflict;

impl Analyzer for GatewayConflict {
    fn name(&self) -> &'static str {
        "gateway.ConflictingGatewayAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that no two Gateways have the same selector, port and host"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let workloads = workloads(index);
        for (resource, gateway) in index.of::<Gateway>() {
            for (position, server) in gateway.servers.iter().enumerate() {
                let Some(port) = &server.port else { continue };
                let mut others: Vec<String> = index
                    .of::<Gateway>()
                    .filter(|(other, _)| !std::ptr::eq(*other, resource))
                    .filter(|(_, other)| share_workload(gateway, other, &workloads))
                    .filter(|(_, other)| other.servers.iter().any(|s| conflict(server, s)))
                    .map(|(other, _)| other.full_name())
                    .collect();
                if others.is_empty() {
                    continue;
                }
                others.sort();
                report.add(
                    &CONFLICTING_GATEWAYS,
                    resource,
                    at!(spec.servers[position].hosts),
                    format!(
                        "{} on port {} of the same workload is a Gateway's already: {}",
                        server.hosts.join(", "),
                        port.number,
                        others.join(", ")
                    ),
                    "merge the Gateways, or give them hosts or ports of their own",
                );
            }
        }
    }
}

/// Whether one selector implies the other, or a workload has the labels of both.
fn share_workload(a: &Gateway, b: &Gateway, workloads: &[Workload<'_>]) -> bool {
    selects(&a.selector, &b.selector)
        || selects(&b.selector, &a.selector)
        || workloads.iter().any(|workload| {
            selects(&a.selector, &workload.labels) && selects(&b.selector, &workload.labels)
        })
}

fn conflict(a: &Server, b: &Server) -> bool {
    let number = |server: &Server| server.port.as_ref().map(|port| port.number);
    number(a) == number(b)
        && a.bind == b.bind
        && a.hosts
            .iter()
            .any(|a| b.hosts.iter().any(|b| same_host(a, b)))
}

/// Whether two hosts of servers, `namespace/host` or `host`, cover a name in common.
fn same_host(a: &str, b: &str) -> bool {
    let split = |host| match str::split_once(host, '/') {
        Some((namespace, host)) => (namespace, host),
        None => ("*", host),
    };
    let ((space_a, a), (space_b, b)) = (split(a), split(b));
    (space_a == "*" || space_b == "*" || space_a == space_b) && (covers(a, b) || covers(b, a))
}
