//! Sidecars that select nothing, the same as others, or workloads without sidecar.

use std::collections::BTreeMap;

use meltemi_api::networking::Sidecar;

use crate::code::{
    CONFLICTING_SIDECAR_SELECTORS, INEFFECTIVE_POLICY, MULTIPLE_SIDECARS_WITHOUT_SELECTORS,
    REFERENCED_RESOURCE_NOT_FOUND,
};
use crate::injection::{is_ambient, is_redirected};
use crate::report::at;
use crate::selector::{Labels, selects, show};
use crate::workload::{Workload, workloads};
use crate::{Analyzer, Index, Report, Resource};

pub struct SidecarSelector;

impl Analyzer for SidecarSelector {
    fn name(&self) -> &'static str {
        "sidecar.SelectorAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that Sidecars select workloads, and no two the same"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let workloads = workloads(index);
        let mut of_namespace: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
        let mut of_workload: BTreeMap<usize, Vec<&Resource>> = BTreeMap::new();
        for (resource, sidecar) in index.of::<Sidecar>() {
            let selector = sidecar
                .workload_selector
                .as_ref()
                .map(|selector| &selector.labels);
            match selector.filter(|labels| !labels.is_empty()) {
                None => {
                    of_namespace
                        .entry(resource.namespace())
                        .or_default()
                        .push(resource);
                    if index
                        .namespace_labels(resource.namespace())
                        .is_some_and(is_ambient)
                    {
                        ineffective(
                            resource,
                            at!(metadata.namespace),
                            "its namespace is",
                            report,
                        );
                    }
                }
                Some(labels) => {
                    let selected = select(&workloads, resource, labels);
                    if selected.is_empty() {
                        report.add(
                            &REFERENCED_RESOURCE_NOT_FOUND,
                            resource,
                            at!(spec.workloadSelector.labels),
                            format!(
                                "no workload of its namespace has the labels {}",
                                show(labels)
                            ),
                            "correct the selector",
                        );
                    }
                    if selected.iter().any(|(_, workload)| is_redirected(workload)) {
                        ineffective(
                            resource,
                            at!(spec.workloadSelector),
                            "a workload that it selects is",
                            report,
                        );
                    }
                    for (position, _) in selected {
                        of_workload.entry(position).or_default().push(resource);
                    }
                }
            }
        }
        for (namespace, sidecars) in of_namespace.iter().filter(|(_, all)| all.len() > 1) {
            for resource in sidecars {
                report.add(
                    &MULTIPLE_SIDECARS_WITHOUT_SELECTORS,
                    resource,
                    at!(metadata.name),
                    format!("namespace {namespace} has several Sidecars without selector ({}); which one applies is not defined", others(resource, sidecars)),
                    "keep one, or give the others a workloadSelector",
                );
            }
        }
        for (position, sidecars) in of_workload.iter().filter(|(_, all)| all.len() > 1) {
            let workload = &workloads[*position].resource.name.name;
            for resource in sidecars {
                report.add(
                    &CONFLICTING_SIDECAR_SELECTORS,
                    resource,
                    at!(spec.workloadSelector.labels),
                    format!("workload {workload} is selected by another Sidecar too ({}); which one applies is not defined", others(resource, sidecars)),
                    "make the selectors distinct",
                );
            }
        }
    }
}

fn select<'a, 'b>(
    workloads: &'b [Workload<'a>],
    resource: &Resource,
    labels: &Labels,
) -> Vec<(usize, &'b Workload<'a>)> {
    workloads
        .iter()
        .enumerate()
        .filter(|(_, workload)| workload.namespace() == resource.namespace())
        .filter(|(_, workload)| selects(labels, &workload.labels))
        .collect()
}

fn ineffective(
    resource: &Resource,
    field: meltemi_api::FieldPath,
    what: &str,
    report: &mut Report,
) {
    report.add(
        &INEFFECTIVE_POLICY,
        resource,
        field,
        format!("{what} in ambient mode, without sidecars: the Sidecar has no effect there"),
        "remove it, or use sidecars",
    );
}

/// Names of the others.
pub fn others(resource: &Resource, all: &[&Resource]) -> String {
    let names: Vec<&str> = all
        .iter()
        .filter(|other| !std::ptr::eq(**other, resource))
        .map(|other| other.name.name.as_str())
        .collect();
    names.join(", ")
}
