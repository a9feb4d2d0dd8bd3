//! Header operations and their values.

use std::collections::BTreeMap;

use super::super::names::header;
use super::super::report::Report;
use crate::FieldPath;
use crate::networking::{HeaderOperations, Headers, HttpRewrite, HttpRoute};

pub(super) fn headers(headers: Option<&Headers>, at: &FieldPath, report: &mut Report) {
    let Some(headers) = headers else { return };
    for (name, operations) in [
        ("request", &headers.request),
        ("response", &headers.response),
    ] {
        if let Some(operations) = operations {
            header_operations(operations, &at.field(name), report);
        }
    }
}

fn header_operations(operations: &HeaderOperations, at: &FieldPath, report: &mut Report) {
    let mut values = |name: &str, map: &BTreeMap<String, String>| {
        for (key, value) in map {
            let at = at.field(name).field(key);
            report.check(&at, header(key));
            report.check(&at, header_value(value));
        }
    };
    values("set", &operations.set);
    values("add", &operations.add);
    for (index, name) in operations.remove.iter().enumerate() {
        let at = at.field("remove").index(index);
        report.check(&at, header(name));
        if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
            report.error(
                &at,
                format!("{name} cannot be removed"),
                "set it to another value",
            );
        }
    }
}

/// Envoy's format of header values: `%COMMAND(...):LENGTH%`, and `%%` for a percent sign.
fn header_value(value: &str) -> Result<(), (String, String)> {
    let mut rest = value;
    while let Some(start) = rest.find('%') {
        rest = &rest[start + 1..];
        rest = match rest.strip_prefix('%') {
            Some(after) => after,
            None => match variable(rest) {
                Some(after) => after,
                None => {
                    return Err((
                        format!("{value:?} has a % that starts no variable"),
                        "write %% for a percent sign, or a variable such as %HOSTNAME%".into(),
                    ));
                }
            },
        };
    }
    Ok(())
}

/// What follows a variable of which the first percent sign is read already.
fn variable(text: &str) -> Option<&str> {
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let mut rest = text.trim_start_matches(is_name);
    if rest.len() == text.len() {
        return None;
    }
    if let Some(arguments) = rest.strip_prefix('(') {
        rest = &arguments[arguments.find(')')? + 1..];
    }
    if let Some(length) = rest.strip_prefix(':') {
        rest = length.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    rest.strip_prefix('%')
}

pub(super) fn authority_once(
    route: &HttpRoute,
    change: &HttpRewrite,
    at: &FieldPath,
    report: &mut Report,
) {
    let request = |headers: &Option<Headers>| {
        headers
            .as_ref()
            .and_then(|h| h.request.as_ref())
            .is_some_and(|operations| {
                operations
                    .set
                    .keys()
                    .chain(operations.add.keys())
                    .any(|name| {
                        name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
                    })
            })
    };
    if !change.authority.is_empty()
        && (request(&route.headers) || route.route.iter().any(|entry| request(&entry.headers)))
    {
        report.error(
            &at.field("rewrite").field("authority"),
            "the authority is also set by headers",
            "set it in one place",
        );
    }
}
