//! The annotation by which a policy is tried out without being enforced.

use super::report::Report;
use crate::security::AuthorizationAction as Action;
use crate::{FieldPath, Kind, Meta};

const NAME: &str = "istio.io/dry-run";

/// Only AuthorizationPolicies can be tried out.
pub(super) fn of_others(meta: &Meta, report: &mut Report) {
    if !meta.kind.is_kubernetes()
        && meta.kind != Kind::AuthorizationPolicy
        && meta.annotations.contains_key(NAME)
    {
        let message = format!("a {} cannot be tried out", meta.kind);
        report.error(&path(), message, "remove the annotation");
    }
}

pub(super) fn of_policy(action: Action, meta: &Meta, report: &mut Report) {
    let Some(value) = meta.annotations.get(NAME) else {
        return;
    };
    if !matches!(action, Action::Allow | Action::Deny) {
        let message = format!("{action} cannot be tried out");
        report.error(
            &path(),
            message,
            "remove the annotation, or use ALLOW or DENY",
        );
    } else if !is_bool(value) {
        let message = format!("{value:?} is not true or false");
        report.error(&path(), message, "write \"true\" or \"false\"");
    }
}

fn path() -> FieldPath {
    FieldPath::root()
        .field("metadata")
        .field("annotations")
        .field(NAME)
}

/// Whether a text is a boolean to Go's `strconv.ParseBool`, which reads Istio's annotations.
pub fn is_bool(text: &str) -> bool {
    [
        "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False",
    ]
    .contains(&text)
}
