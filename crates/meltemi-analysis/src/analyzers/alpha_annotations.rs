//! Annotations of features that Istio calls alpha. Not among the analyzers that run by default:
//! many are set by injection itself.

use super::annotation_table::find;
use super::annotations::KINDS;
use crate::code::ALPHA_ANNOTATION;
use crate::{Analyzer, Index, Report, Resource};

pub struct AlphaAnnotations;

/// Set by controllers, never by users.
const ALWAYS_SET: [&str; 4] = [
    "ambient.istio.io/redirection",
    "gateway.istio.io/controller-version",
    "istio.io/rev",
    "sidecar.istio.io/status",
];
/// Set by injection where Istio's CNI plug-in redirects the traffic.
const SET_FOR_CNI: [&str; 4] = [
    "sidecar.istio.io/interceptionMode",
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "traffic.sidecar.istio.io/includeInboundPorts",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
];

impl Analyzer for AlphaAnnotations {
    fn name(&self) -> &'static str {
        "annotations.AlphaAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks for annotations of alpha features (only when asked for)"
    }

    fn by_default(&self, _index: &Index) -> bool {
        false
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for (group, kind) in KINDS {
            for resource in index.kind(group, kind) {
                let cni = kind == "Pod" && !has_init_container(resource);
                for (name, value) in resource.tree().at(&["metadata", "annotations"]).entries() {
                    let set = ALWAYS_SET.contains(&name) || (cni && SET_FOR_CNI.contains(&name));
                    if !set && find(name).is_some_and(|known| known.alpha) {
                        report.add(
                            &ALPHA_ANNOTATION,
                            resource,
                            value.path,
                            format!("{name} belongs to an alpha feature"),
                            "do not rely on it in production",
                        );
                    }
                }
            }
        }
    }
}

/// Whether an init container redirects the traffic, rather than the CNI plug-in.
fn has_init_container(resource: &Resource) -> bool {
    let containers = resource.tree().at(&["spec", "initContainers"]);
    containers
        .items()
        .iter()
        .any(|container| container.get("name").text() == "istio-init")
}
