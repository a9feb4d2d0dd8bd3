//! TLSRoute and TCPRoute.

use super::super::report::Report;
use super::{hostname, reference, unique_names};
use crate::gateway_api::{L4RouteRule, TcpRoute, TlsRoute};
use crate::{FieldPath, Meta};

/// Most host names of a TLSRoute.
const HOSTNAMES: usize = 1024;

pub(in crate::validate) fn tls_route(
    spec: &TlsRoute,
    meta: &Meta,
    at: &FieldPath,
    report: &mut Report,
) {
    reference::parents(&spec.parent_refs, at, report);
    let names = at.field("hostnames");
    if spec.hostnames.is_empty() && !meta.api_version.ends_with("/v1alpha2") {
        report.error(
            &names,
            "is required",
            "name the servers, for example db.example.com",
        );
    }
    report.at_most_items(&names, spec.hostnames.len(), HOSTNAMES);
    for (index, name) in spec.hostnames.iter().enumerate() {
        hostname(name, true, &names.index(index), report);
    }
    rules(&spec.rules, at, report);
}

pub(in crate::validate) fn tcp_route(spec: &TcpRoute, at: &FieldPath, report: &mut Report) {
    reference::parents(&spec.parent_refs, at, report);
    rules(&spec.rules, at, report);
}

fn rules(rules: &[L4RouteRule], at: &FieldPath, report: &mut Report) {
    let at = at.field("rules");
    if rules.is_empty() {
        report.error(&at, "is required", "add a rule with backendRefs");
    }
    report.at_most_items(&at, rules.len(), 16);
    unique_names(rules.iter().map(|rule| rule.name.as_str()), &at, report);
    for (index, rule) in rules.iter().enumerate() {
        let at = at.index(index).field("backendRefs");
        if rule.backend_refs.is_empty() {
            report.error(&at, "is required", "name a Service and a port of it");
        }
        reference::backends(&rule.backend_refs, &at, report);
    }
}
