//! VirtualService.

mod answer;
mod fault;
mod headers;
mod http;
mod http_match;
mod l4;
mod retries;

use super::names::{fqdn, hosts_overlap, is_label, wildcard_domain};
use super::report::Report;
use crate::FieldPath;
use crate::networking::{Destination, VirtualService};

pub(crate) use retries::retries;

pub(super) fn validate(spec: &VirtualService, at: &FieldPath, report: &mut Report) {
    let delegate = spec.hosts.is_empty();
    hosts(spec, at, report);
    gateways(&spec.gateways, &at.field("gateways"), report);
    report.export_to(&at.field("exportTo"), &spec.export_to, false);
    if delegate {
        let only_http = "a VirtualService without hosts is a delegate, which has http rules only";
        for (name, present) in [
            ("gateways", !spec.gateways.is_empty()),
            ("tcp", !spec.tcp.is_empty()),
            ("tls", !spec.tls.is_empty()),
        ] {
            if present {
                report.error(
                    &at.field(name),
                    only_http,
                    "add hosts, or remove this field",
                );
            }
        }
    }
    if spec.http.is_empty() && spec.tcp.is_empty() && spec.tls.is_empty() {
        report.error(at, "there is no rule", "add http, tls or tcp");
    }
    let context = http::Context {
        delegate,
        gateways: &spec.gateways,
    };
    for (index, route) in spec.http.iter().enumerate() {
        http::route(route, &context, &at.field("http").index(index), report);
    }
    for (index, route) in spec.tls.iter().enumerate() {
        l4::tls(route, &spec.hosts, &at.field("tls").index(index), report);
    }
    for (index, route) in spec.tcp.iter().enumerate() {
        l4::tcp(route, &at.field("tcp").index(index), report);
    }
}

fn applies_to_mesh(gateways: &[String]) -> bool {
    gateways.is_empty() || gateways.iter().any(|g| g == "mesh")
}

fn hosts(spec: &VirtualService, at: &FieldPath, report: &mut Report) {
    let at = at.field("hosts");
    let mesh = applies_to_mesh(&spec.gateways);
    for (index, host) in spec.hosts.iter().enumerate() {
        let at = at.index(index);
        if host.parse::<std::net::IpAddr>().is_err() {
            report.check(&at, super::names::sni_domain(host));
        }
        if host == "*" && mesh {
            report.error(
                &at,
                "the host * is for gateways only, and this applies to sidecars (mesh)",
                "name the hosts, or name gateways other than mesh",
            );
        }
        if let Some(other) = spec.hosts[..index]
            .iter()
            .find(|other| hosts_overlap(other, host))
        {
            report.error(
                &at,
                format!("{host:?} overlaps with {other:?}"),
                "remove one of them",
            );
        }
    }
}

fn gateways(gateways: &[String], at: &FieldPath, report: &mut Report) {
    for (index, gateway) in gateways.iter().enumerate() {
        let at = at.index(index);
        let form = "write NAME, NAMESPACE/NAME or mesh";
        match gateway.split_once('/') {
            Some((namespace, name)) => {
                if namespace != "." && !is_label(namespace) {
                    report.error(&at, format!("{namespace:?} is not a namespace"), form);
                }
                report.check(&at, fqdn(name));
            }
            None => {
                report.check(&at, fqdn(gateway));
                if let Some((name, rest)) = gateway.split_once('.') {
                    let namespace = rest.split('.').next().unwrap_or_default();
                    report.warning(
                        &at,
                        format!("{gateway:?} is the legacy form of a gateway's name"),
                        format!("write {namespace}/{name}"),
                    );
                }
            }
        }
    }
}

fn destination(destination: &Destination, at: &FieldPath, report: &mut Report) {
    if destination.host.is_empty() {
        report.error(at, "a destination is required", "name a host");
    } else if destination.host == "*" {
        report.error(
            &at.field("host"),
            "a destination cannot be *",
            "name a host",
        );
    } else {
        report.check(&at.field("host"), wildcard_domain(&destination.host));
    }
    subset_name(&destination.subset, &at.field("subset"), report);
    if let Some(port) = &destination.port {
        report.port(&at.field("port").field("number"), port.number);
    }
}

fn subset_name(name: &str, at: &FieldPath, report: &mut Report) {
    if !name.is_empty() && !is_label(name) {
        report.error(
            at,
            format!("{name:?} is not a subset's name"),
            "use letters, digits and '-', at most 63",
        );
    }
}

/// Weights of one rule: none negative, and not all zero where there is a choice.
fn weights(weights: &[i32], at: &FieldPath, report: &mut Report) {
    for (index, weight) in weights.iter().enumerate() {
        if *weight < 0 {
            let at = at.index(index).field("weight");
            report.error(&at, format!("{weight} is negative"), "write 0 or more");
        }
    }
    if weights.len() > 1 && weights.iter().all(|weight| *weight == 0) {
        report.error(
            at,
            "the weights of the destinations add up to 0",
            "give each its share",
        );
    }
}
