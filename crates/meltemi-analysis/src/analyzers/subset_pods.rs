//! DestinationRules for hosts that do not exist, and subsets without workloads.

use meltemi_api::nearest;
use meltemi_api::networking::{DestinationRule, Subset};

use crate::code::{SUBSET_SELECTS_NO_PODS, UNKNOWN_RULE_HOST};
use crate::hosts::{Hosts, Service};
use crate::report::at;
use crate::selector::{Labels, selects, show};
use crate::workload::{Workload, workloads};
use crate::{Analyzer, Index, Report};

pub struct SubsetPods;

/// Labels that endpoints get from their node (Istio adds them to those of the pod).
const TOPOLOGY: [&str; 4] = [
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
    "kubernetes.io/hostname",
];

impl Analyzer for SubsetPods {
    fn name(&self) -> &'static str {
        "destinationrule.SubsetSelectPodAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that the hosts of DestinationRules exist and their subsets have workloads"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let hosts = Hosts::of(index);
        let workloads = workloads(index);
        for (resource, rule) in index.of::<DestinationRule>() {
            let namespace = resource.namespace();
            let Some(service) = hosts.find(namespace, &rule.export_to, &rule.host) else {
                let remedy = match nearest(&rule.host, hosts.visible(namespace)) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => "correct the host, or apply its Service or ServiceEntry".to_owned(),
                };
                report.add(
                    &UNKNOWN_RULE_HOST,
                    resource,
                    at!(spec.host),
                    format!(
                        "namespace {namespace} sees no service {:?}; the rule has no effect",
                        rule.host
                    ),
                    remedy,
                );
                continue;
            };
            for (position, subset) in rule.subsets.iter().enumerate() {
                if is_empty(service, subset, &workloads) {
                    report.add(
                        &SUBSET_SELECTS_NO_PODS,
                        resource,
                        at!(spec.subsets[position].labels),
                        format!(
                            "no workload of {} has the labels {}; requests to subset {} get 503",
                            rule.host,
                            show(&subset.labels),
                            subset.name
                        ),
                        "correct the labels, or start the workload",
                    );
                }
            }
        }
    }
}

/// Whether a subset selects none of the workloads of a service. Nothing is said of a service
/// whose endpoints are found otherwise.
pub fn is_empty(service: &Service<'_>, subset: &Subset, workloads: &[Workload<'_>]) -> bool {
    let Some(selector) = &service.selector else {
        return false;
    };
    let own: Labels = subset
        .labels
        .iter()
        .filter(|(key, _)| !TOPOLOGY.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut of_service = workloads.iter().filter(|workload| {
        workload.namespace() == service.resource.namespace() && selects(selector, &workload.labels)
    });
    !of_service.any(|workload| selects(&own, &workload.labels))
}
