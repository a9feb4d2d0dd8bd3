//! What a policy is attached to: a selector or target references, and the rules both follow in
//! every kind that has them.

use super::report::Report;
use crate::FieldPath;
use crate::scope::{LabelSelector, PolicyTargetReference};

/// Group and kind of what may be referred to.
const TARGETS: [(&str, &str); 4] = [
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
];
/// Most references of one object.
const MAX_TARGETS: usize = 16;

/// The three ways to say what a policy is for, of which one may be used.
pub(super) struct Attachment<'a> {
    pub selector: Option<&'a LabelSelector>,
    pub target_ref: Option<&'a PolicyTargetReference>,
    pub target_refs: &'a [PolicyTargetReference],
}

impl Attachment<'_> {
    pub fn check(&self, at: &FieldPath, report: &mut Report) {
        let ways = [
            self.selector.is_some(),
            self.target_ref.is_some(),
            !self.target_refs.is_empty(),
        ];
        if ways.iter().filter(|way| **way).count() > 1 {
            report.error(
                at,
                "has more than one of selector, targetRef and targetRefs",
                "keep one of them",
            );
        }
        if let Some(selector) = self.selector {
            label_selector(selector, &at.field("selector"), report);
        }
        if let Some(target) = self.target_ref {
            reference(target, &at.field("targetRef"), report);
        }
        let at = at.field("targetRefs");
        if self.target_refs.len() > MAX_TARGETS {
            let message = format!("has more than {MAX_TARGETS} references");
            report.error(&at, message, "split the object");
        }
        for (index, target) in self.target_refs.iter().enumerate() {
            reference(target, &at.index(index), report);
        }
    }
}

/// A selector with `matchLabels`.
pub(super) fn label_selector(selector: &LabelSelector, at: &FieldPath, report: &mut Report) {
    if selector.match_labels.is_empty() {
        report.warning(
            at,
            "has no labels: the object applies to the whole namespace",
            "add matchLabels, or remove selector",
        );
    }
    report.selector(&at.field("matchLabels"), &selector.match_labels);
}

pub(super) fn reference(target: &PolicyTargetReference, at: &FieldPath, report: &mut Report) {
    report.required(&at.field("name"), &target.name, "name the object");
    report.at_most(&at.field("name"), &target.name, 253);
    if !target.namespace.is_empty() {
        report.error(
            &at.field("namespace"),
            "a policy is attached to objects of its own namespace",
            "remove it, and move the policy to that namespace",
        );
    }
    let group = match target.group.as_str() {
        "core" => "",
        group => group,
    };
    if TARGETS.contains(&(group, target.kind.as_str())) {
        return;
    }
    let of_kind = TARGETS.iter().find(|(_, kind)| *kind == target.kind);
    match of_kind {
        Some((group, kind)) => report.error(
            &at.field("group"),
            format!("{kind} is not of group {:?}", target.group),
            format!("write group: {group:?}"),
        ),
        None => report.error(
            &at.field("kind"),
            format!("a policy cannot be attached to a {:?}", target.kind),
            crate::did_you_mean(&target.kind, TARGETS.map(|(_, kind)| kind)),
        ),
    }
}
