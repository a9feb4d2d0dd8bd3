//! AuthorizationPolicies that apply to nothing, or name namespaces that do not exist.

use std::collections::BTreeSet;

use crate::code::{NO_MATCHING_WORKLOADS, REFERENCED_RESOURCE_NOT_FOUND};
use crate::injection::in_mesh;
use crate::report::at;
use crate::selector::{selects, show};
use crate::{Analyzer, Index, Report, Resource};

pub struct Authorization;

impl Analyzer for Authorization {
    fn name(&self) -> &'static str {
        "auth.AuthorizationPoliciesAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that AuthorizationPolicies apply to workloads and name namespaces that exist"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let workloads = in_mesh(index);
        let namespaces: BTreeSet<&str> = index
            .resources
            .iter()
            .map(|resource| match resource.name.kind.as_str() {
                "Namespace" => resource.name.name.as_str(),
                _ => resource.namespace(),
            })
            .collect();
        for policy in index.kind("security.istio.io", "AuthorizationPolicy") {
            let spec = policy.tree().get("spec");
            let mesh_wide = policy.namespace() == index.root_namespace();
            let selector = spec.get("selector");
            let labels = selector.get("matchLabels").texts();
            let bound = spec.get("targetRef").exists() || spec.get("targetRefs").exists();
            let applies = bound
                || (mesh_wide && !selector.exists())
                || workloads.iter().any(|workload| {
                    (mesh_wide || workload.namespace() == policy.namespace())
                        && selects(&labels, &workload.labels)
                });
            if !applies {
                let (field, text) = if selector.exists() {
                    let scope = if mesh_wide {
                        "the mesh"
                    } else {
                        "its namespace"
                    };
                    let labels = show(&labels);
                    (
                        selector.get("matchLabels").path,
                        format!(
                            "no workload of {scope} has the labels {labels}; the policy applies to nothing"
                        ),
                    )
                } else {
                    (
                        at!(metadata.namespace),
                        format!(
                            "namespace {} has no workload in the mesh; the policy applies to nothing",
                            policy.namespace()
                        ),
                    )
                };
                report.add(
                    &NO_MATCHING_WORKLOADS,
                    policy,
                    field,
                    text,
                    "correct the selector or the namespace",
                );
            }
            sources(policy, &namespaces, report);
        }
    }
}

fn sources(policy: &Resource, known: &BTreeSet<&str>, report: &mut Report) {
    for rule in policy.tree().at(&["spec", "rules"]).items() {
        for from in rule.get("from").items() {
            for list in ["namespaces", "notNamespaces"] {
                for entry in from.get("source").get(list).items() {
                    let pattern = entry.text();
                    if known.iter().any(|name| names(pattern, name)) {
                        continue;
                    }
                    report.add(
                        &REFERENCED_RESOURCE_NOT_FOUND,
                        policy,
                        entry.path.clone(),
                        format!("no namespace is called {pattern:?}"),
                        meltemi_api::did_you_mean(
                            pattern,
                            known.iter().copied().filter(|name| !name.is_empty()),
                        ),
                    );
                }
            }
        }
    }
}

/// Whether a pattern of a policy names a namespace: exact, `prefix*`, `*suffix`, `*`.
fn names(pattern: &str, namespace: &str) -> bool {
    if let Some(suffix) = pattern.strip_prefix('*') {
        namespace.ends_with(suffix)
    } else if let Some(prefix) = pattern.strip_suffix('*') {
        namespace.starts_with(prefix)
    } else {
        namespace.eq_ignore_ascii_case(pattern)
    }
}
