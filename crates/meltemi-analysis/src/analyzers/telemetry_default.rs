//! Several Telemetries of a namespace without selector.

use std::collections::BTreeMap;

use super::exclusive::shared_namespaces;
use crate::code::MULTIPLE_TELEMETRIES_WITHOUT_SELECTORS;
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
        shared_namespaces(
            &MULTIPLE_TELEMETRIES_WITHOUT_SELECTORS,
            "Telemetries",
            "selector",
            &of_namespace,
            report,
        );
    }
}
