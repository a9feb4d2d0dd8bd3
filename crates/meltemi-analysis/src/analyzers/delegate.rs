//! Delegates of VirtualServices: whether they exist and can be delegated to.

use std::collections::BTreeMap;

use meltemi_api::networking::VirtualService;

use crate::code::REFERENCED_RESOURCE_NOT_FOUND;
use crate::hosts::scopes;
use crate::report::at;
use crate::{Analyzer, Index, Report};

pub struct Delegates;

impl Analyzer for Delegates {
    fn name(&self) -> &'static str {
        "virtualservice.DelegateAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that the delegates of VirtualServices exist"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let known: BTreeMap<(&str, &str), &VirtualService> = index
            .of::<VirtualService>()
            .map(|(resource, service)| ((resource.namespace(), &*resource.name.name), service))
            .collect();
        for (resource, service) in index.of::<VirtualService>() {
            for (rule, http) in service.http.iter().enumerate() {
                let Some(delegate) = &http.delegate else {
                    continue;
                };
                let own = resource.namespace();
                let namespace = match delegate.namespace.as_str() {
                    "" => own,
                    namespace => namespace,
                };
                let (problem, remedy) = match known.get(&(namespace, &*delegate.name)) {
                    None => (
                        "does not exist",
                        "correct the name, or apply it without hosts",
                    ),
                    Some(target) if !target.hosts.is_empty() => (
                        "has hosts of its own and is no delegate",
                        "remove its hosts",
                    ),
                    Some(target) if !sees(own, target, namespace) => (
                        "is not exported to this namespace",
                        "add the namespace to its exportTo",
                    ),
                    Some(_) => continue,
                };
                report.add(
                    &REFERENCED_RESOURCE_NOT_FOUND,
                    resource,
                    at!(spec.http[rule].delegate.name),
                    format!(
                        "VirtualService {namespace}/{} {problem}; requests that match the rule get 404",
                        delegate.name
                    ),
                    remedy,
                );
            }
        }
    }
}

fn sees(namespace: &str, target: &VirtualService, its: &str) -> bool {
    let scopes = scopes(&target.export_to, its);
    scopes
        .iter()
        .any(|scope| scope == "*" || scope == namespace)
}
