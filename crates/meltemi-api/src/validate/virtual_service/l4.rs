//! TLS and TCP rules.

use std::collections::BTreeMap;

use super::super::names::{hosts_overlap, ip_or_subnet, is_label, sni_domain};
use super::super::report::Report;
use super::{destination, gateways, weights};
use crate::FieldPath;
use crate::networking::{RouteDestination, TcpRoute, TlsRoute};

pub(super) fn tls(route: &TlsRoute, hosts: &[String], at: &FieldPath, report: &mut Report) {
    if route.matches.is_empty() {
        report.error(at, "a TLS rule needs a match", "add match with sniHosts");
    }
    for (index, condition) in route.matches.iter().enumerate() {
        let at = at.field("match").index(index);
        if condition.sni_hosts.is_empty() {
            report.error(&at, "a TLS match needs sniHosts", "add sniHosts");
        }
        for (index, host) in condition.sni_hosts.iter().enumerate() {
            let at = at.field("sniHosts").index(index);
            if host.parse::<std::net::IpAddr>().is_ok() {
                report.warning(
                    &at,
                    format!("{host} is an address, and clients do not send addresses as SNI"),
                    "name a host",
                );
            } else {
                report.check(&at, sni_domain(host));
                if !hosts.iter().any(|of| hosts_overlap(of, host)) {
                    report.error(
                        &at,
                        format!("{host:?} is not covered by the hosts of this VirtualService"),
                        "add it to hosts",
                    );
                }
            }
        }
        subnets(&condition.destination_subnets, &at, report);
        common(
            condition.port,
            &condition.source_labels,
            &condition.source_namespace,
            &at,
            report,
        );
        gateways(&condition.gateways, &at.field("gateways"), report);
    }
    destinations(&route.route, "TLS", at, report);
}

pub(super) fn tcp(route: &TcpRoute, at: &FieldPath, report: &mut Report) {
    for (index, condition) in route.matches.iter().enumerate() {
        let at = at.field("match").index(index);
        subnets(&condition.destination_subnets, &at, report);
        if !condition.source_subnet.is_empty() {
            report.check(
                &at.field("sourceSubnet"),
                ip_or_subnet(&condition.source_subnet),
            );
        }
        common(
            condition.port,
            &condition.source_labels,
            &condition.source_namespace,
            &at,
            report,
        );
        gateways(&condition.gateways, &at.field("gateways"), report);
    }
    destinations(&route.route, "TCP", at, report);
}

fn subnets(subnets: &[String], at: &FieldPath, report: &mut Report) {
    for (index, subnet) in subnets.iter().enumerate() {
        report.check(
            &at.field("destinationSubnets").index(index),
            ip_or_subnet(subnet),
        );
    }
}

/// Conditions that all matches have.
pub(super) fn common(
    port: u32,
    labels: &BTreeMap<String, String>,
    namespace: &str,
    at: &FieldPath,
    report: &mut Report,
) {
    if port != 0 {
        report.port(&at.field("port"), port);
    }
    report.labels(&at.field("sourceLabels"), labels);
    if !namespace.is_empty() && !is_label(namespace) {
        report.error(
            &at.field("sourceNamespace"),
            format!("{namespace:?} is not a namespace"),
            "name a namespace",
        );
    }
}

fn destinations(route: &[RouteDestination], what: &str, at: &FieldPath, report: &mut Report) {
    let at = at.field("route");
    if route.is_empty() {
        report.error(
            &at,
            format!("a {what} rule needs a route"),
            "add a destination",
        );
    }
    for (index, entry) in route.iter().enumerate() {
        destination(
            &entry.destination,
            &at.index(index).field("destination"),
            report,
        );
    }
    let all: Vec<i32> = route.iter().map(|entry| entry.weight).collect();
    weights(&all, &at, report);
}
