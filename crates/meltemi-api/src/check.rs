//! Everything that can be said of one object without looking at others.

use serde_json::Value;

use crate::{
    FieldPath, Finding, Kind, Object, Severity, Support, did_you_mean, not_honoured,
    unknown_fields, validate,
};

/// Validates `object`, decoded from `value`, and reports what of it is not known or not
/// honoured yet.
pub fn check(value: &Value, object: &Object) -> Vec<Finding> {
    let kind = object.meta.kind;
    let mut findings: Vec<Finding> = support(kind).into_iter().collect();
    findings.extend(validate(object));
    let unknown = unknown_fields(value, object);
    let is_unknown = |path: &FieldPath| unknown.iter().any(|u| u.path == *path);
    let without_effect: Vec<_> = not_honoured(value, kind)
        .into_iter()
        .filter(|field| !is_unknown(&field.path))
        .collect();
    findings.extend(unknown.into_iter().map(|unknown| {
        let remedy = did_you_mean(&unknown.name, unknown.known.iter().map(String::as_str));
        Finding::warning(
            unknown.path,
            format!("unknown field {:?} has no effect", unknown.name),
            remedy,
        )
    }));
    findings.extend(without_effect.into_iter().map(|field| {
        let message = "this field is accepted but has no effect yet";
        match field.severity {
            Severity::Info => Finding::info(field.path, message, "nothing to do"),
            _ => Finding::notice(field.path, message, "do not rely on it, or leave it out"),
        }
    }));
    findings
}

/// What is to be said of a kind as a whole.
fn support(kind: Kind) -> Option<Finding> {
    let at = FieldPath::root().field("kind");
    match kind.support() {
        Support::Honoured => None,
        Support::NotYet => Some(Finding::notice(
            at,
            format!("{kind} is not supported yet; the object has no effect"),
            "leave it out, or accept that it does nothing",
        )),
        Support::RefusedPolicy => Some(Finding::unsupported(
            at,
            format!(
                "{kind} is not supported yet: it is not enforced, and traffic that it would refuse passes"
            ),
            "remove it, and do not rely on it",
        )),
    }
}
