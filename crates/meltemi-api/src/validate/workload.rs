//! WorkloadEntry and WorkloadGroup.

use std::net::IpAddr;

use super::names::{fqdn, unix_path};
use super::report::Report;
use crate::FieldPath;
use crate::networking::{WorkloadEntry, WorkloadGroup};

pub(super) fn entry(spec: &WorkloadEntry, at: &FieldPath, report: &mut Report) {
    if spec.address.is_empty() {
        if spec.network.is_empty() {
            report.error(
                &at.field("address"),
                "is required",
                "write an address, or a network",
            );
        } else {
            let message = "is not set: traffic goes to the network's gateway";
            report.warning(
                &at.field("address"),
                message,
                "set it when the workload is reachable",
            );
        }
    } else if let Some(path) = spec.address.strip_prefix("unix://") {
        report.check(&at.field("address"), unix_path(path));
        if !spec.ports.is_empty() {
            report.error(
                &at.field("ports"),
                "a Unix socket has no ports",
                "remove them",
            );
        }
    } else if spec.address.parse::<IpAddr>().is_err() {
        report.check(&at.field("address"), fqdn(&spec.address));
    }
    common(spec, at, report);
}

/// What an entry and an endpoint of a ServiceEntry have in common.
pub(super) fn common(spec: &WorkloadEntry, at: &FieldPath, report: &mut Report) {
    report.labels(&at.field("labels"), &spec.labels);
    for (name, port) in &spec.ports {
        let at = at.field("ports").field(name);
        if !super::names::is_label(name) {
            report.error(
                &at,
                format!("{name:?} is not a port's name"),
                "use letters, digits, '-'",
            );
        }
        report.port(&at, *port);
    }
}

pub(super) fn group(spec: &WorkloadGroup, at: &FieldPath, report: &mut Report) {
    match &spec.template {
        None => report.error(&at.field("template"), "is required", "add template"),
        Some(template) => common(template, &at.field("template"), report),
    }
    if let Some(metadata) = &spec.metadata {
        report.labels(&at.field("metadata").field("labels"), &metadata.labels);
    }
    let Some(probe) = &spec.probe else { return };
    let at = at.field("probe");
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        report.not_negative(&at.field(name), value);
    }
    let kinds = [
        probe.http_get.is_some(),
        probe.tcp_socket.is_some(),
        probe.exec.is_some(),
        probe.grpc.is_some(),
    ];
    if kinds.iter().filter(|set| **set).count() != 1 {
        report.error(
            &at,
            "needs one of httpGet, tcpSocket, exec, grpc",
            "keep one of them",
        );
    }
    if let Some(check) = &probe.http_get {
        let at = at.field("httpGet");
        report.port(&at.field("port"), check.port);
        if !["", "HTTP", "HTTPS"].contains(&check.scheme.as_str()) {
            let message = format!("{:?} is not a scheme", check.scheme);
            report.error(&at.field("scheme"), message, "use HTTP or HTTPS");
        }
        for (index, header) in check.http_headers.iter().enumerate() {
            let at = at.field("httpHeaders").index(index).field("name");
            report.check(&at, super::names::header(&header.name));
        }
    }
    if let Some(check) = &probe.tcp_socket {
        report.port(&at.field("tcpSocket").field("port"), check.port);
    }
    if let Some(check) = &probe.grpc {
        report.port(&at.field("grpc").field("port"), check.port);
    }
    if let Some(check) = &probe.exec
        && (check.command.is_empty() || check.command.iter().any(String::is_empty))
    {
        report.error(
            &at.field("exec").field("command"),
            "is required",
            "write the command",
        );
    }
}
