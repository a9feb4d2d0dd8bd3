//! Sidecars that select nothing, the same as others, or workloads without sidecar.

use std::collections::BTreeMap;

use meltemi_api::networking::Sidecar;

use super::exclusive::{selected, shared_namespaces, shared_workloads};
use crate::code::{
    CONFLICTING_SIDECAR_SELECTORS, INEFFECTIVE_POLICY, MULTIPLE_SIDECARS_WITHOUT_SELECTORS,
};
use crate::injection::{is_ambient, is_redirected};
use crate::report::at;
use crate::workload::workloads;
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
                    let field = at!(spec.workloadSelector.labels);
                    let selected = selected(&workloads, resource, field, labels, report);
                    let redirected = |position: &usize| is_redirected(&workloads[*position]);
                    if selected.iter().any(redirected) {
                        ineffective(
                            resource,
                            at!(spec.workloadSelector),
                            "a workload that it selects is",
                            report,
                        );
                    }
                    for position in selected {
                        of_workload.entry(position).or_default().push(resource);
                    }
                }
            }
        }
        shared_namespaces(
            &MULTIPLE_SIDECARS_WITHOUT_SELECTORS,
            "Sidecars",
            "workloadSelector",
            &of_namespace,
            report,
        );
        shared_workloads(
            &CONFLICTING_SIDECAR_SELECTORS,
            "Sidecar",
            &at!(spec.workloadSelector.labels),
            &workloads,
            &of_workload,
            report,
        );
    }
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
