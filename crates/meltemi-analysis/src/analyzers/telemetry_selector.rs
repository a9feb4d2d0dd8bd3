//! Telemetries that select nothing, or the same as others.

use std::collections::BTreeMap;

use super::exclusive::{selected, shared_workloads};
use crate::code::CONFLICTING_TELEMETRY_SELECTORS;
use crate::report::at;
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
            for position in selected(&workloads, resource, field, &labels, report) {
                of_workload.entry(position).or_default().push(resource);
            }
        }
        shared_workloads(
            &CONFLICTING_TELEMETRY_SELECTORS,
            "Telemetry",
            &at!(spec.selector.matchLabels),
            &workloads,
            &of_workload,
            report,
        );
    }
}
