//! Several Telemetries of a namespace without selector.

use std::collections::BTreeMap;

use crate::code::MULTIPLE_TELEMETRIES_WITHOUT_SELECTORS;
use crate::report::at;
use crate::{Analyzer, Index, Report, Resource};

pub struct TelemetryDefault;

impl Analyzer for TelemetryDefault {
    fn name(&self) -> &'static str {
        "telemetry.DefaultSelectorAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that a namespace has one Telemetry without selector at most"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let mut of_namespace: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
        for resource in index.kind("telemetry.istio.io", "Telemetry") {
            let spec = resource.tree().get("spec");
            let labels = spec.at(&["selector", "matchLabels"]).texts();
            let bound = spec.get("targetRef").exists() || spec.get("targetRefs").exists();
            if labels.is_empty() && !bound {
                of_namespace
                    .entry(resource.namespace())
                    .or_default()
                    .push(resource);
            }
        }
        for (namespace, all) in of_namespace.iter().filter(|(_, all)| all.len() > 1) {
            for resource in all {
                let others = super::sidecar_selector::others(resource, all);
                report.add(
                    &MULTIPLE_TELEMETRIES_WITHOUT_SELECTORS,
                    resource,
                    at!(metadata.name),
                    format!("namespace {namespace} has several Telemetries without selector ({others}); which one applies is not defined"),
                    "keep one, or give the others a selector",
                );
            }
        }
    }
}
