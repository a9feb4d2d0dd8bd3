//! Ingress and IngressClass: the API server's rules.

use super::names::whole_wildcard_domain;
use super::report::Report;
use crate::FieldPath;
use crate::k8s::{Ingress, IngressBackend, IngressClass, IngressRule};

pub(super) fn validate(object: &Ingress, at: &FieldPath, report: &mut Report) {
    let Some(spec) = &object.spec else {
        return report.error(at, "is required", "add rules or a defaultBackend");
    };
    let rules = spec.rules.as_deref().unwrap_or_default();
    match &spec.default_backend {
        Some(default) => backend(default, &at.field("defaultBackend"), report),
        None if rules.is_empty() => {
            report.error(
                at,
                "has neither rules nor a defaultBackend",
                "add one of them",
            );
        }
        None => {}
    }
    for (index, one) in rules.iter().enumerate() {
        rule(one, &at.field("rules").index(index), report);
    }
    for (index, tls) in spec.tls.iter().flatten().enumerate() {
        let at = at.field("tls").index(index);
        for (index, host) in tls.hosts.iter().flatten().enumerate() {
            report.check(&at.field("hosts").index(index), whole_wildcard_domain(host));
        }
        if tls.secret_name.as_deref().unwrap_or_default().is_empty() {
            report.warning(
                &at.field("secretName"),
                "without it there is no certificate, and HTTPS is not served",
                "name a Secret with tls.crt and tls.key",
            );
        }
    }
}

fn rule(rule: &IngressRule, at: &FieldPath, report: &mut Report) {
    if let Some(host) = rule.host.as_deref().filter(|host| !host.is_empty()) {
        let at = at.field("host");
        report.check(&at, whole_wildcard_domain(host));
        if host == "*" {
            report.error(
                &at,
                "\"*\" is not a host",
                "leave the host out for every one",
            );
        }
    }
    let Some(http) = &rule.http else { return };
    for (index, path) in http.paths.iter().enumerate() {
        let at = at.field("http").field("paths").index(index);
        let text = path.path.as_deref().unwrap_or_default();
        match path.path_type.as_str() {
            "Exact" | "Prefix" => {
                if !text.starts_with('/') {
                    let message = format!("{text:?} is not an absolute path");
                    report.error(&at.field("path"), message, "begin it with /");
                }
            }
            "ImplementationSpecific" => {}
            "" => report.error(
                &at.field("pathType"),
                "is required",
                "write Prefix or Exact",
            ),
            other => {
                let message = format!("{other:?} is not a path type");
                report.error(
                    &at.field("pathType"),
                    message,
                    "write Prefix, Exact or ImplementationSpecific",
                );
            }
        }
        backend(&path.backend, &at.field("backend"), report);
    }
}

fn backend(backend: &IngressBackend, at: &FieldPath, report: &mut Report) {
    let service = match (&backend.service, &backend.resource) {
        (Some(service), None) => service,
        (None, Some(_)) => return,
        (None, None) => return report.error(&at.field("service"), "is required", "name a Service"),
        (Some(_), Some(_)) => {
            return report.error(
                &at.field("resource"),
                "excludes service",
                "keep one of the two",
            );
        }
    };
    let at = at.field("service");
    report.required(&at.field("name"), &service.name, "name a Service");
    let port = service.port.as_ref();
    let name = port
        .and_then(|port| port.name.as_deref())
        .unwrap_or_default();
    let number = port.and_then(|port| port.number).unwrap_or_default();
    match (name.is_empty(), number) {
        (true, 0) => report.error(
            &at.field("port"),
            "is required",
            "give a port of the Service by number or by name",
        ),
        (true, number) => {
            let number = u32::try_from(number).unwrap_or_default();
            report.port(&at.field("port").field("number"), number);
        }
        (false, 0) => {}
        (false, _) => report.error(
            &at.field("port").field("name"),
            "excludes number",
            "keep one of the two",
        ),
    }
}

pub(super) fn class(object: &IngressClass, at: &FieldPath, report: &mut Report) {
    let controller = object
        .spec
        .as_ref()
        .and_then(|spec| spec.controller.as_deref());
    if !controller.unwrap_or_default().contains('/') {
        report.error(
            &at.field("controller"),
            "must be DOMAIN/PATH",
            "write istio.io/ingress-controller for this mesh's Ingresses",
        );
    }
}
