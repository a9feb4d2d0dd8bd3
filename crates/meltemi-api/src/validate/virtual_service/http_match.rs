//! Conditions on HTTP requests.

use std::collections::BTreeMap;

use super::super::names::header;
use super::super::report::Report;
use super::{applies_to_mesh, gateways, l4};
use crate::FieldPath;
use crate::networking::{HttpMatchRequest, StringMatch};

pub(super) fn condition(
    condition: &HttpMatchRequest,
    of: &[String],
    at: &FieldPath,
    report: &mut Report,
) {
    for (name, value, empty_allowed) in [
        ("uri", &condition.uri, true),
        ("scheme", &condition.scheme, false),
        ("method", &condition.method, false),
        ("authority", &condition.authority, false),
    ] {
        if let Some(value) = value {
            text(value, empty_allowed, &at.field(name), report);
        }
    }
    headers(&condition.headers, of, &at.field("headers"), report);
    headers(
        &condition.without_headers,
        of,
        &at.field("withoutHeaders"),
        report,
    );
    for (name, value) in &condition.query_params {
        let at = at.field("queryParams").field(name);
        if name.is_empty() {
            report.error(
                &at,
                "an empty name of a query parameter",
                "name the parameter",
            );
        }
        text(value, false, &at, report);
    }
    let (labels, namespace) = (&condition.source_labels, &condition.source_namespace);
    l4::common(condition.port, labels, namespace, at, report);
    gateways(&condition.gateways, &at.field("gateways"), report);
}

fn headers(
    headers: &BTreeMap<String, StringMatch>,
    of: &[String],
    at: &FieldPath,
    report: &mut Report,
) {
    for (name, value) in headers {
        let at = at.field(name);
        if name.starts_with("@request.auth.claims") {
            if applies_to_mesh(of) {
                report.error(
                    &at,
                    "routing by JWT claims works at gateways only",
                    "name gateways other than mesh",
                );
            }
        } else {
            report.check(&at, header(name));
        }
        text(value, false, &at, report);
    }
}

fn text(value: &StringMatch, empty_allowed: bool, at: &FieldPath, report: &mut Report) {
    match value {
        StringMatch::Present | StringMatch::Exact(_) => {}
        StringMatch::Prefix(prefix) => {
            if prefix.is_empty() && !empty_allowed {
                report.error(
                    &at.field("prefix"),
                    "an empty prefix",
                    "write a prefix, or remove it",
                );
            }
        }
        StringMatch::Regex(expression) => {
            if expression.is_empty() {
                report.error(
                    &at.field("regex"),
                    "an empty expression",
                    "write one, or remove it",
                );
            }
            report.regex(&at.field("regex"), expression);
        }
    }
}
