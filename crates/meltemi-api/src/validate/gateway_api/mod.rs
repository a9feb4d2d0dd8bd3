//! The Gateway API's kinds: the rules of their schemas.

mod filter;
mod gateway;
mod http;
mod l4;
mod reference;

pub(super) use gateway::{class, gateway};
pub(super) use http::{grpc_route, http_route};
pub(super) use l4::{tcp_route, tls_route};
pub(super) use reference::reference_grant;

use super::report::Report;
use crate::FieldPath;

/// A host name in lower case, whose first label may be `*`.
fn hostname(text: &str, wildcard: bool, at: &FieldPath, report: &mut Report) {
    let name = match text.strip_prefix("*.") {
        Some(rest) if wildcard => rest,
        _ => text,
    };
    let is_label = |label: &str| {
        super::names::is_label(label) && !label.contains(|c: char| c.is_ascii_uppercase())
    };
    if text.parse::<std::net::IpAddr>().is_ok()
        || text.len() > 253
        || !name.split('.').all(is_label)
    {
        let remedy = if wildcard {
            "write it in lower case: app.example.com, or *.example.com"
        } else {
            "write it in lower case, without wildcards: app.example.com"
        };
        report.error(at, format!("{text:?} is not a host name"), remedy);
    }
}

/// Names of rules are unique within a route.
fn unique_names<'a>(names: impl Iterator<Item = &'a str>, at: &FieldPath, report: &mut Report) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, name) in names.enumerate() {
        if !name.is_empty() && !seen.insert(name) {
            let message = format!("the name {name:?} is taken by another one");
            report.error(&at.index(index).field("name"), message, "rename it");
        }
    }
}
