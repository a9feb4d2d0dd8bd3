//! Subsets of VirtualServices' destinations: whether a DestinationRule declares them.

use std::collections::BTreeSet;

use meltemi_api::nearest;
use meltemi_api::networking::{DestinationRule, VirtualService};

use super::destination_host::destinations;
use crate::code::REFERENCED_RESOURCE_NOT_FOUND;
use crate::hosts::{covers, fqdn, scopes};
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
        for (resource, service) in index.of::<VirtualService>() {
            for (field, to) in destinations(service) {
                if to.subset.is_empty() {
                    continue;
                }
                let subsets = subsets(index, resource.namespace(), &to.host);
                if subsets.contains(to.subset.as_str()) {
                    continue;
                }
                let remedy = match nearest(&to.subset, subsets.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None if subsets.is_empty() => {
                        format!("apply a DestinationRule for {} that declares it", to.host)
                    }
                    None => {
                        let known: Vec<&str> = subsets.iter().copied().collect();
                        format!("declared are {}", known.join(", "))
                    }
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

/// The subsets of a host that the rules which a namespace sees declare.
pub fn subsets<'a>(index: &'a Index, namespace: &str, host: &str) -> BTreeSet<&'a str> {
    let host = fqdn(host, namespace);
    index
        .of::<DestinationRule>()
        .filter(|(rule, spec)| covers(&fqdn(&spec.host, rule.namespace()), &host))
        .filter(|(rule, spec)| {
            let scopes = scopes(&spec.export_to, rule.namespace());
            rule.namespace() == namespace
                || scopes
                    .iter()
                    .any(|scope| scope == "*" || scope == namespace)
        })
        .flat_map(|(_, spec)| spec.subsets.iter().map(|subset| subset.name.as_str()))
        .collect()
}
