//! EnvoyFilters whose patches are ignored, or depend on the order of others.

use crate::code::{
    ADD_INCORRECT, RELATIVE_OPERATION, RELATIVE_OPERATION_WITH_VERSION, REMOVE_INCORRECT,
    REPLACE_INCORRECT,
};
use crate::{Analyzer, Code, Index, Report, Tree};

pub struct EnvoyFilterPatches;

impl Analyzer for EnvoyFilterPatches {
    fn name(&self) -> &'static str {
        "envoyfilter.EnvoyPatchAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that the patches of EnvoyFilters apply, and do not depend on one another's order"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        // Names of filters that an earlier patch changes for one proxy version only.
        let mut versioned: Vec<String> = Vec::new();
        for resource in index.kind("networking.istio.io", "EnvoyFilter") {
            let spec = resource.tree().get("spec");
            let has_priority = spec.get("priority").number().is_some_and(|p| p != 0);
            for patch in spec.get("configPatches").items() {
                if !patch.get("patch").exists() {
                    // The schema's validation says so; what follows is not looked at either.
                    break;
                }
                let operation = patch.at(&["patch", "operation"]);
                let name = filter_name(&patch);
                let apply_to = patch.get("applyTo").text();
                let verdict = match wrong(operation.text(), apply_to) {
                    Some(code) => Some((code, ignored(operation.text(), apply_to))),
                    None if is_relative(operation.text()) && !has_priority => {
                        let code = if versioned.contains(&name) {
                            &RELATIVE_OPERATION_WITH_VERSION
                        } else {
                            &RELATIVE_OPERATION
                        };
                        Some((
                            code,
                            format!(
                                "{} has an effect only if what it refers to is there when the patch is applied, and without priority the order of EnvoyFilters is not yours",
                                operation.text()
                            ),
                        ))
                    }
                    None => None,
                };
                if let Some((code, text)) = verdict {
                    report.add(code, resource, operation.path.clone(), text, code.remedy);
                }
                if patch.at(&["match", "proxy", "proxyVersion"]).exists() {
                    versioned.push(name);
                }
            }
        }
    }
}

/// The filter that a patch adds or changes.
fn filter_name(patch: &Tree<'_>) -> String {
    let own = patch.at(&["patch", "value", "name"]).text();
    let matched = patch.at(&["match", "listener", "filterChain", "filter", "name"]);
    if own.is_empty() { matched.text() } else { own }.to_owned()
}

fn is_relative(operation: &str) -> bool {
    matches!(
        operation,
        "REMOVE" | "REPLACE" | "INSERT_BEFORE" | "INSERT_AFTER"
    )
}

/// The code of an operation that is ignored for what it is applied to.
fn wrong(operation: &str, apply_to: &str) -> Option<&'static Code> {
    let route = matches!(apply_to, "ROUTE_CONFIGURATION" | "HTTP_ROUTE");
    let replaceable = matches!(apply_to, "NETWORK_FILTER" | "HTTP_FILTER" | "VIRTUAL_HOST");
    match operation {
        "ADD" if route => Some(&ADD_INCORRECT),
        "REMOVE" if route => Some(&REMOVE_INCORRECT),
        "REPLACE" if !replaceable => Some(&REPLACE_INCORRECT),
        _ => None,
    }
}

fn ignored(operation: &str, apply_to: &str) -> String {
    format!("{operation} is ignored when it is applied to {apply_to}")
}
