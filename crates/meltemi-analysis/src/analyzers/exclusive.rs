//! Policies of which a workload takes one: what they select, and who else selects it.

use std::collections::BTreeMap;

use meltemi_api::FieldPath;

use crate::code::REFERENCED_RESOURCE_NOT_FOUND;
use crate::report::at;
use crate::selector::{Labels, selects, show};
use crate::workload::Workload;
use crate::{Code, Report, Resource};

/// Positions of the workloads of its namespace that a policy selects; that there is none is
/// reported at the selector's `field`.
pub fn selected(
    workloads: &[Workload<'_>],
    resource: &Resource,
    field: FieldPath,
    labels: &Labels,
    report: &mut Report,
) -> Vec<usize> {
    let selected: Vec<usize> = workloads
        .iter()
        .enumerate()
        .filter(|(_, workload)| workload.namespace() == resource.namespace())
        .filter(|(_, workload)| selects(labels, &workload.labels))
        .map(|(position, _)| position)
        .collect();
    if selected.is_empty() {
        report.add(
            &REFERENCED_RESOURCE_NOT_FOUND,
            resource,
            field,
            format!(
                "no workload of its namespace has the labels {}",
                show(labels)
            ),
            "correct the selector",
        );
    }
    selected
}

/// Reports the policies that are not alone in selecting a workload, at their selector's `field`.
pub fn shared_workloads(
    code: &'static Code,
    kind: &str,
    field: &FieldPath,
    workloads: &[Workload<'_>],
    of_workload: &BTreeMap<usize, Vec<&Resource>>,
    report: &mut Report,
) {
    for (position, all) in of_workload.iter().filter(|(_, all)| all.len() > 1) {
        let workload = &workloads[*position].resource.name.name;
        for resource in all {
            let others = others(resource, all);
            report.add(
                code,
                resource,
                field.clone(),
                format!("workload {workload} is selected by another {kind} too ({others}); which one applies is not defined"),
                "make the selectors distinct",
            );
        }
    }
}

/// Reports the policies that are not alone in having no `selector` in their namespace.
pub fn shared_namespaces(
    code: &'static Code,
    kinds: &str,
    selector: &str,
    of_namespace: &BTreeMap<&str, Vec<&Resource>>,
    report: &mut Report,
) {
    for (namespace, all) in of_namespace.iter().filter(|(_, all)| all.len() > 1) {
        for resource in all {
            let others = others(resource, all);
            report.add(
                code,
                resource,
                at!(metadata.name),
                format!("namespace {namespace} has several {kinds} without selector ({others}); which one applies is not defined"),
                format!("keep one, or give the others a {selector}"),
            );
        }
    }
}

/// Names of the others.
fn others(resource: &Resource, all: &[&Resource]) -> String {
    let names: Vec<&str> = all
        .iter()
        .filter(|other| !std::ptr::eq(**other, resource))
        .map(|other| other.name.name.as_str())
        .collect();
    names.join(", ")
}
