//! Telemetries that select nothing, or the same as others.

use std::collections::BTreeMap;

use super::sidecar_selector::others;
use crate::code::{CONFLICTING_TELEMETRY_SELECTORS, REFERENCED_RESOURCE_NOT_FOUND};
use crate::report::at;
use crate::selector::{selects, show};
use crate::workload::workloads;
use crate::{Analyzer, Index, Report, Resource};

pub struct TelemetrySelector;

impl Analyzer for TelemetrySelector {
    fn name(&self) -> &'static str {
        "telemetry.SelectorAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that Telemetries select workloads, and no two the same"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let workloads = workloads(index);
        let mut of_workload: BTreeMap<usize, Vec<&Resource>> = BTreeMap::new();
        for resource in index.kind("telemetry.istio.io", "Telemetry") {
            let labels = resource.tree().at(&["spec", "selector", "matchLabels"]);
            let (field, labels) = (labels.path.clone(), labels.texts());
            if labels.is_empty() {
                continue;
            }
            let mut found = false;
            for (position, workload) in workloads.iter().enumerate() {
                if workload.namespace() == resource.namespace()
                    && selects(&labels, &workload.labels)
                {
                    found = true;
                    of_workload.entry(position).or_default().push(resource);
                }
            }
            if !found {
                report.add(
                    &REFERENCED_RESOURCE_NOT_FOUND,
                    resource,
                    field,
                    format!(
                        "no workload of its namespace has the labels {}",
                        show(&labels)
                    ),
                    "correct the selector",
                );
            }
        }
        for (position, all) in of_workload.iter().filter(|(_, all)| all.len() > 1) {
            let workload = &workloads[*position].resource.name.name;
            for resource in all {
                report.add(
                    &CONFLICTING_TELEMETRY_SELECTORS,
                    resource,
                    at!(spec.selector.matchLabels),
                    format!("workload {workload} is selected by another Telemetry too ({}); which one applies is not defined", others(resource, all)),
                    "make the selectors distinct",
                );
            }
        }
    }
}
