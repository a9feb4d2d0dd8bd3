//! Subsets of VirtualServices' destinations: whether a DestinationRule declares them.

use std::collections::BTreeSet;

use meltemi_api::networking::VirtualService;

use super::destination_host::destinations;
use crate::code::REFERENCED_RESOURCE_NOT_FOUND;
use crate::rules::Rules;
use crate::{Analyzer, Index, Report};

pub struct DestinationSubset;

impl Analyzer for DestinationSubset {
    fn name(&self) -> &'static str {
        "virtualservice.DestinationRuleAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that the subsets of VirtualServices' destinations are declared"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let rules = Rules::of(index);
        for (resource, service) in index.of::<VirtualService>() {
            for (field, to) in destinations(service) {
                if to.subset.is_empty() {
                    continue;
                }
                let subsets: BTreeSet<&str> = rules
                    .subsets(resource.namespace(), &to.host)
                    .map(|subset| subset.name.as_str())
                    .collect();
                if subsets.contains(to.subset.as_str()) {
                    continue;
                }
                let remedy = if subsets.is_empty() {
                    format!("apply a DestinationRule for {} that declares it", to.host)
                } else {
                    let known: Vec<&str> = subsets.into_iter().collect();
                    format!("declared are {}", known.join(", "))
                };
                report.add(
                    &REFERENCED_RESOURCE_NOT_FOUND,
                    resource,
                    field.field("subset"),
                    format!(
                        "no DestinationRule declares subset {:?} of {}; requests to it get 503",
                        to.subset, to.host
                    ),
                    remedy,
                );
            }
        }
    }
}
