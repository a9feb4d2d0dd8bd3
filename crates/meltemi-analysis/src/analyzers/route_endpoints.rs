//! Routes to subsets and Services that have no workload.

use meltemi_api::networking::{Destination, VirtualService};

use super::destination_host::destinations;
use super::subset_pods::is_empty;
use crate::code::ROUTE_TO_EMPTY_SUBSET;
use crate::hosts::{Hosts, Service};
use crate::rules::Rules;
use crate::selector::selects;
use crate::workload::{Workload, workloads};
use crate::{Analyzer, Index, Report};

pub struct RouteEndpoints;

impl Analyzer for RouteEndpoints {
    fn name(&self) -> &'static str {
        "virtualservice.EndpointAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that routes lead to subsets and Services with workloads"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let hosts = Hosts::of(index);
        let rules = Rules::of(index);
        let workloads = workloads(index);
        for (resource, virtual_service) in index.of::<VirtualService>() {
            let namespace = resource.namespace();
            for (field, to) in destinations(virtual_service) {
                let found = hosts.find(namespace, &virtual_service.export_to, &to.host);
                let Some(service) = found.filter(|service| has_namespace(service, &workloads))
                else {
                    continue;
                };
                let dead = if to.subset.is_empty() {
                    selects_nothing(service, &workloads)
                        .then(|| (field.field("host"), to.host.clone()))
                } else {
                    empty_subset(&rules, namespace, service, to, &workloads).then(|| {
                        (
                            field.field("subset"),
                            format!("subset {} of {}", to.subset, to.host),
                        )
                    })
                };
                if let Some((field, what)) = dead {
                    report.add(
                        &ROUTE_TO_EMPTY_SUBSET,
                        resource,
                        field,
                        format!("{what} has no workload; its share of the requests gets 503"),
                        "start the workload, correct the labels, or shift the weight away",
                    );
                }
            }
        }
    }
}

/// Whether anything is known of what runs in a service's namespace.
fn has_namespace(service: &Service<'_>, workloads: &[Workload<'_>]) -> bool {
    let mut all = workloads.iter();
    all.any(|workload| workload.namespace() == service.resource.namespace())
}

fn selects_nothing(service: &Service<'_>, workloads: &[Workload<'_>]) -> bool {
    service.selector.as_ref().is_some_and(|selector| {
        !workloads.iter().any(|workload| {
            workload.namespace() == service.resource.namespace()
                && selects(selector, &workload.labels)
        })
    })
}

fn empty_subset(
    rules: &Rules<'_>,
    namespace: &str,
    service: &Service<'_>,
    to: &Destination,
    workloads: &[Workload<'_>],
) -> bool {
    let mut declared = rules
        .subsets(namespace, &to.host)
        .filter(|subset| subset.name == to.subset)
        .peekable();
    declared.peek().is_some() && declared.all(|subset| is_empty(service, subset, workloads))
}
