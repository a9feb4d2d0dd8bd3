//! Annotations of Istio's domains: unknown, misplaced, deprecated, with wrong values.

use meltemi_api::nearest;

use super::annotation_table::{KNOWN, Known, On, find, is_istios};
use crate::code::{
    DEPRECATED_ANNOTATION, INVALID_ANNOTATION, MISPLACED_ANNOTATION, UNKNOWN_ANNOTATION,
};
use crate::injection::INJECT;
use crate::{Analyzer, Index, Report, Resource, Tree};

pub struct Annotations;

/// Kinds that are looked at: group, kind.
pub const KINDS: [(&str, &str); 4] = [
    ("", "Namespace"),
    ("", "Service"),
    ("", "Pod"),
    ("apps", "Deployment"),
];

impl Analyzer for Annotations {
    fn name(&self) -> &'static str {
        "annotations.K8sAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks for misplaced, unknown, deprecated and wrong annotations of Istio's"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for (group, kind) in KINDS {
            for resource in index.kind(group, kind) {
                check(resource, kind, &resource.tree().get("metadata"), report);
                let template = resource.tree().at(&["spec", "template", "metadata"]);
                check(resource, "Pod", &template, report);
            }
        }
    }
}

/// Checks the annotations of metadata that become those of a `kind`.
fn check(resource: &Resource, kind: &str, metadata: &Tree<'_>, report: &mut Report) {
    let labels = metadata.get("labels").texts();
    for (name, value) in metadata.get("annotations").entries() {
        if !is_istios(name) {
            continue;
        }
        let field = value.path.clone();
        let Some(known) = find(name) else {
            let remedy = match nearest(name, KNOWN.iter().map(|known| known.name)) {
                Some(near) => format!("did you mean {near}?"),
                None => "remove it".to_owned(),
            };
            report.add(
                &UNKNOWN_ANNOTATION,
                resource,
                field,
                format!("Istio knows no annotation {name}; it has no effect"),
                remedy,
            );
            continue;
        };
        // Who has the label too keeps the annotation for older versions only.
        if known.deprecated && !(name == INJECT && labels.contains_key(INJECT)) {
            let remedy = match name {
                INJECT => "use the label of the same name",
                _ => "use the field of proxy.istio.io/config that replaces it",
            };
            report.add(
                &DEPRECATED_ANNOTATION,
                resource,
                field.clone(),
                format!("{name} is deprecated and may stop to work"),
                remedy,
            );
        }
        if !is_for(known, kind) {
            let On::Kinds(kinds) = known.on else { continue };
            let kinds = kinds.join(" or ");
            report.add(
                &MISPLACED_ANNOTATION,
                resource,
                field,
                format!("{name} has no effect on a {kind}"),
                match kind {
                    "Deployment" if kinds == "Pod" => {
                        "move it to spec.template.metadata.annotations".to_owned()
                    }
                    _ => format!("put it on a {kinds}"),
                },
            );
        } else if let Some(problem) = known.value.wrong(value.text()) {
            report.add(
                &INVALID_ANNOTATION,
                resource,
                field,
                format!("{name}: {problem}"),
                "correct the value",
            );
        }
    }
}

fn is_for(known: &Known, kind: &str) -> bool {
    match known.on {
        On::Any => true,
        On::Kinds(kinds) => kinds.contains(&kind),
    }
}
