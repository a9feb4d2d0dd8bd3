//! HTTP rules for hosts whose ports are declared as something else.

use meltemi_api::networking::VirtualService;

use crate::code::HTTP_RULES_ON_TCP_PORT;
use crate::hosts::Hosts;
use crate::report::at;
use crate::{Analyzer, Index, Report};

pub struct OpaquePort;

impl Analyzer for OpaquePort {
    fn name(&self) -> &'static str {
        "virtualservice.ProtocolAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that HTTP rules are for hosts that have an HTTP port"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let hosts = Hosts::of(index);
        for (resource, service) in index.of::<VirtualService>() {
            // A gateway's own port decides there.
            let for_sidecars = service.gateways.is_empty()
                || service.gateways.iter().any(|gateway| gateway == "mesh");
            if service.http.is_empty() || !for_sidecars {
                continue;
            }
            for (position, host) in service.hosts.iter().enumerate() {
                let found = hosts.find(resource.namespace(), &[], host);
                let Some(target) = found.filter(|target| !target.ports.is_empty()) else {
                    continue;
                };
                if target
                    .ports
                    .iter()
                    .any(|port| port.protocol.is_http() || port.protocol.is_sniffed())
                {
                    continue;
                }
                let ports: Vec<String> = target
                    .ports
                    .iter()
                    .map(|port| format!("{} ({})", port.number, port.protocol))
                    .collect();
                report.add(
                    &HTTP_RULES_ON_TCP_PORT,
                    resource,
                    at!(spec.hosts[position]),
                    format!("the http rules never apply to {host}: its ports are {}", ports.join(", ")),
                    format!("if it speaks HTTP, name the port of {} http-...; else use tcp or tls rules", target.resource.name),
                );
            }
        }
    }
}
