//! ServiceEntry.

use std::net::IpAddr;

use super::names::{
    fqdn, ip_or_subnet, is_label, unix_path, whole_wildcard_domain, wildcard_domain,
};
use super::report::Report;
use super::workload;
use crate::FieldPath;
use crate::networking::{ServiceEntry, ServiceResolution, WorkloadEntry};

const PROTOCOLS: [&str; 12] = [
    "HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "REDIS", "MYSQL", "TCP", "TLS", "UDP",
    "HBONE",
];

pub(super) fn validate(spec: &ServiceEntry, at: &FieldPath, report: &mut Report) {
    hosts(spec, at, report);
    for (index, address) in spec.addresses.iter().enumerate() {
        report.check(&at.field("addresses").index(index), ip_or_subnet(address));
    }
    ports(spec, at, report);
    selector(spec, at, report);
    resolution(spec, at, report);
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        endpoint_rules(endpoint, spec, &at.field("endpoints").index(index), report);
    }
    report.export_to(&at.field("exportTo"), &spec.export_to, true);
}

fn hosts(spec: &ServiceEntry, at: &FieldPath, report: &mut Report) {
    let at = at.field("hosts");
    if spec.hosts.is_empty() {
        report.error(&at, "is required", "name a host");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        let at = at.index(index);
        if host == "*" {
            report.error(&at, "a service cannot be *", "name the hosts");
            continue;
        }
        let partial = host.starts_with('*') && !host.starts_with("*.");
        if partial && let Err((message, remedy)) = whole_wildcard_domain(host) {
            report.warning(&at, message, remedy);
        }
        report.check(&at, wildcard_domain(host));
        if host.starts_with('*') && resolved_by_name(spec) && spec.endpoints.is_empty() {
            let message = format!("{host:?} cannot be resolved");
            report.error(
                &at,
                message,
                "name endpoints, or use resolution DYNAMIC_DNS or NONE",
            );
        }
    }
}

fn resolved_by_name(spec: &ServiceEntry) -> bool {
    matches!(
        spec.resolution,
        ServiceResolution::Dns | ServiceResolution::DnsRoundRobin
    )
}

fn ports(spec: &ServiceEntry, at: &FieldPath, report: &mut Report) {
    let (mut opaque, mut by_sni) = (false, false);
    let resolved = resolved_by_name(spec);
    for (index, port) in spec.ports.iter().enumerate() {
        let at = at.field("ports").index(index);
        report.port(&at.field("number"), port.number);
        if !is_label(&port.name) {
            let message = format!("{:?} is not a port's name", port.name);
            report.error(&at.field("name"), message, "use letters, digits and '-'");
        }
        let before = &spec.ports[..index];
        if before.iter().any(|other| other.number == port.number) {
            let message = format!("port {} is there for a second time", port.number);
            report.error(&at.field("number"), message, "keep one of them");
        }
        if before.iter().any(|other| other.name == port.name) {
            let message = format!("the name {:?} is there for a second time", port.name);
            report.error(&at.field("name"), message, "rename it");
        }
        if port.target_port != 0 {
            report.port(&at.field("targetPort"), port.target_port);
        }
        let protocol = port.protocol.to_ascii_uppercase();
        if !protocol.is_empty() && !PROTOCOLS.contains(&protocol.as_str()) {
            let remedy = crate::did_you_mean(&protocol, PROTOCOLS);
            let message = format!("{:?} is not a protocol", port.protocol);
            report.error(&at.field("protocol"), message, remedy);
        }
        opaque |= protocol.is_empty() || protocol == "TCP";
        by_sni |= protocol == "HTTPS" || protocol == "TLS";
        let dynamic = ["HTTP", "HTTPS", "TLS", "GRPC", "HTTP2"];
        if spec.resolution == ServiceResolution::DynamicDns && !dynamic.contains(&protocol.as_str())
        {
            let message = "DYNAMIC_DNS learns the name from HTTP or TLS";
            report.error(
                &at.field("protocol"),
                message,
                "use HTTP, TLS, GRPC or HTTP2",
            );
        }
    }
    if opaque && spec.addresses.is_empty() {
        report.warning(
            &at.field("addresses"),
            "TCP cannot be told apart by name: without an address, one is allocated",
            "add addresses to have them fixed",
        );
    }
    if opaque && spec.hosts.len() > 1 && !spec.addresses.is_empty() {
        let message = "several hosts share the addresses, and TCP cannot tell them apart";
        report.warning(&at.field("hosts"), message, "write one ServiceEntry a host");
    } else if by_sni && spec.hosts.len() > 1 && !spec.addresses.is_empty() && resolved {
        let message = "several hosts share the addresses, and only the SNI tells them apart";
        report.warning(&at.field("hosts"), message, "write one ServiceEntry a host");
    }
}

fn selector(spec: &ServiceEntry, at: &FieldPath, report: &mut Report) {
    let Some(selector) = &spec.workload_selector else {
        return;
    };
    let at = at.field("workloadSelector");
    if !spec.endpoints.is_empty() {
        report.error(&at, "excludes endpoints", "keep one of them");
    }
    if selector.labels.is_empty() {
        let message = "has no labels: every workload of the namespace is an endpoint";
        report.warning(&at, message, "add labels");
    }
    if spec.resolution == ServiceResolution::None {
        report.warning(
            &at,
            "has no effect with resolution NONE",
            "use resolution STATIC",
        );
    }
    report.selector(&at.field("labels"), &selector.labels);
}

fn resolution(spec: &ServiceEntry, at: &FieldPath, report: &mut Report) {
    use ServiceResolution as Resolution;
    let field = at.field("resolution");
    let cidr = spec.addresses.iter().any(|address| address.contains('/'));
    if cidr && !matches!(spec.resolution, Resolution::None | Resolution::Static) {
        let message = "address ranges need resolution NONE or STATIC";
        report.error(&at.field("addresses"), message, "write single addresses");
    }
    match spec.resolution {
        Resolution::None if !spec.endpoints.is_empty() => {
            report.error(
                &field,
                "NONE has no endpoints",
                "use STATIC or DNS, or remove endpoints",
            );
        }
        Resolution::DnsRoundRobin if spec.endpoints.len() > 1 => {
            let message = "DNS_ROUND_ROBIN has at most one endpoint";
            report.error(&at.field("endpoints"), message, "use DNS");
        }
        Resolution::DynamicDns => {
            if let Some(index) = spec.hosts.iter().position(|host| !host.starts_with("*.")) {
                let message = "DYNAMIC_DNS is for wildcard hosts";
                report.error(&at.field("hosts").index(index), message, "use DNS");
            }
            if !spec.endpoints.is_empty() {
                report.error(
                    &at.field("endpoints"),
                    "DYNAMIC_DNS has none",
                    "remove them",
                );
            }
        }
        Resolution::Static if spec.endpoints.is_empty() && spec.workload_selector.is_none() => {
            let message = "STATIC without endpoints: requests will fail";
            report.warning(&field, message, "add endpoints, or use DNS");
        }
        _ => {}
    }
}

fn endpoint_rules(
    endpoint: &WorkloadEntry,
    spec: &ServiceEntry,
    at: &FieldPath,
    report: &mut Report,
) {
    let address = at.field("address");
    let by_name = resolved_by_name(spec);
    if let Some(path) = endpoint.address.strip_prefix("unix://") {
        if by_name {
            report.error(
                &address,
                "a socket is no name to resolve",
                "use resolution STATIC",
            );
        }
        report.check(&address, unix_path(path));
        if !endpoint.ports.is_empty() {
            report.error(
                &at.field("ports"),
                "a Unix socket has no ports",
                "remove them",
            );
        }
        if spec.ports.len() != 1 {
            let message = "an endpoint on a Unix socket serves one port";
            report.error(&address, message, "keep one port in the ServiceEntry");
        }
    } else if endpoint.address.is_empty() {
        if endpoint.network.is_empty() {
            report.error(&address, "is required", "write an address");
        }
    } else if endpoint.address.parse::<IpAddr>().is_err() {
        if by_name {
            report.check(&address, fqdn(&endpoint.address));
        } else {
            let message = format!("{:?} is not an IP address", endpoint.address);
            report.error(&address, message, "write an address, or use resolution DNS");
        }
    }
    for name in endpoint.ports.keys() {
        if !spec.ports.iter().any(|port| port.name == *name) {
            let names = spec.ports.iter().map(|port| port.name.as_str());
            let message = format!("the service has no port named {name:?}");
            report.error(
                &at.field("ports").field(name),
                message,
                crate::did_you_mean(name, names),
            );
        }
    }
    workload::common(endpoint, at, report);
}
