//! MeshNetworks.

use std::net::IpAddr;

use super::names::{fqdn, ip_or_subnet, is_label};
use super::report::Report;
use crate::FieldPath;
use crate::mesh::{MeshNetworks, NetworkEndpoints, NetworkGateway};

pub(super) fn validate(spec: &MeshNetworks, at: &FieldPath, report: &mut Report) {
    for (name, network) in &spec.networks {
        let at = at.field("networks").field(name);
        for (index, one) in network.endpoints.iter().enumerate() {
            endpoints(one, &at.field("endpoints").index(index), report);
        }
        for (index, one) in network.gateways.iter().enumerate() {
            gateway(one, &at.field("gateways").index(index), report);
        }
    }
}

fn endpoints(one: &NetworkEndpoints, at: &FieldPath, report: &mut Report) {
    if one.from_cidr.is_some() && one.from_registry.is_some() {
        report.error(at, "has both fromCidr and fromRegistry", "keep one of them");
    }
    if let Some(cidr) = &one.from_cidr {
        report.check(&at.field("fromCidr"), ip_or_subnet(cidr));
    }
    if let Some(registry) = &one.from_registry
        && !is_label(registry)
    {
        report.error(
            &at.field("fromRegistry"),
            format!("{registry:?} is not a registry"),
            "name the cluster: letters, digits and '-'",
        );
    }
}

fn gateway(one: &NetworkGateway, at: &FieldPath, report: &mut Report) {
    if one.registry_service_name.is_some() && one.address.is_some() {
        let message = "has both registryServiceName and address";
        report.error(at, message, "keep one of them");
    }
    if let Some(service) = &one.registry_service_name {
        report.check(&at.field("registryServiceName"), fqdn(service));
    }
    if let Some(address) = &one.address
        && address.parse::<IpAddr>().is_err()
    {
        report.check(&at.field("address"), fqdn(address));
    }
    report.port(&at.field("port"), one.port);
}
