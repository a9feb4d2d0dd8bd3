//! Parents, backends and grants.

use super::super::report::Report;
use crate::FieldPath;
use crate::gateway_api::{Backend, GROUP, ParentReference, ReferenceGrant};

/// Most parents of a route.
const PARENTS: usize = 32;
/// Most backends of a rule.
const BACKENDS: usize = 16;
/// Largest weight.
const WEIGHT: u32 = 1_000_000;

pub(super) fn parents(parents: &[ParentReference], at: &FieldPath, report: &mut Report) {
    let at = at.field("parentRefs");
    report.at_most_items(&at, parents.len(), PARENTS);
    for (index, parent) in parents.iter().enumerate() {
        let at = at.index(index);
        report.required(&at.field("name"), &parent.name, "name the parent");
        if let Some(port) = parent.port {
            report.port(&at.field("port"), port);
        }
        let same = |other: &&ParentReference| identity(other) == identity(parent);
        let mut others = parents[..index].iter().filter(same);
        if others.any(|other| {
            let whole =
                |parent: &ParentReference| parent.section_name.is_empty() && parent.port.is_none();
            whole(other)
                || whole(parent)
                || (&other.section_name, other.port) == (&parent.section_name, parent.port)
        }) {
            report.error(
                &at,
                format!("{} is a parent already", parent.name),
                "remove it, or tell the two apart by sectionName or port",
            );
        }
    }
}

fn identity(parent: &ParentReference) -> (&str, &str, &str, &str) {
    (
        parent.group.as_deref().unwrap_or(GROUP),
        parent.kind.as_deref().unwrap_or("Gateway"),
        &parent.namespace,
        &parent.name,
    )
}

pub(super) fn backends<'a, T>(backends: &'a [T], at: &FieldPath, report: &mut Report)
where
    Backend<'a>: From<&'a T>,
{
    report.at_most_items(at, backends.len(), BACKENDS);
    for (index, one) in backends.iter().enumerate() {
        backend(one.into(), &at.index(index), report);
    }
}

pub(super) fn backend(backend: Backend<'_>, at: &FieldPath, report: &mut Report) {
    report.required(&at.field("name"), backend.name, "name the backend");
    match backend.port {
        Some(port) => report.port(&at.field("port"), port),
        None if backend.is_service() => report.error(
            &at.field("port"),
            "is required for a Service",
            "name a port of the Service",
        ),
        None => {}
    }
    if backend.weight > WEIGHT {
        let message = format!("is more than {WEIGHT}");
        report.error(&at.field("weight"), message, "write a smaller share");
    }
}

pub(in crate::validate) fn reference_grant(
    spec: &ReferenceGrant,
    at: &FieldPath,
    report: &mut Report,
) {
    for (name, count) in [("from", spec.from.len()), ("to", spec.to.len())] {
        let at = at.field(name);
        report.at_most_items(&at, count, 16);
        if count == 0 {
            report.error(&at, "is required", "name who may refer, and to what");
        }
    }
    for (index, from) in spec.from.iter().enumerate() {
        let at = at.field("from").index(index);
        report.required(
            &at.field("kind"),
            &from.kind,
            "name a kind, for example HTTPRoute",
        );
        report.required(&at.field("namespace"), &from.namespace, "name a namespace");
    }
    for (index, to) in spec.to.iter().enumerate() {
        let at = at.field("to").index(index);
        report.required(
            &at.field("kind"),
            &to.kind,
            "name a kind, for example Service",
        );
    }
}
