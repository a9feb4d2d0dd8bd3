//! What is to be said of one object without looking at others.

use meltemi_api::{DecodeError, Finding, Object, Segment, Severity, check};

use crate::{Code, code};

/// A finding and the code it is reported with.
pub type Coded = (&'static Code, Finding);

/// What is wrong with an object that could be read, and what of it Meltemi cannot do. What is of
/// no consequence is left out.
pub fn of_object(value: &serde_json::Value, object: &Object) -> Vec<Coded> {
    check(value, object)
        .into_iter()
        .filter(is_users)
        .filter_map(|finding| {
            let code = match finding.severity {
                Severity::Error => &code::SCHEMA_VALIDATION_ERROR,
                Severity::Warning => &code::SCHEMA_WARNING,
                Severity::Notice | Severity::Unsupported => &code::NOT_HONOURED,
                Severity::Info => return None,
            };
            Some((code, finding))
        })
        .collect()
}

/// Why a document is no object.
pub fn of_errors(errors: Vec<DecodeError>) -> Vec<Coded> {
    errors
        .into_iter()
        .map(|error| {
            let finding = Finding::error(error.path, error.message, error.remedy);
            (&code::SCHEMA_VALIDATION_ERROR, finding)
        })
        .collect()
}

/// The status is the control plane's: what it says is not a user's mistake.
fn is_users(finding: &Finding) -> bool {
    !matches!(finding.path.0.first(), Some(Segment::Field(name)) if name == "status")
}
