//! What of an object could not be honoured.

use meltemi_api::{Meta, ObjectKey};

/// A finding about one object; the rest of the registry is not affected by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub object: ObjectKey,
    /// The field's path, for example `spec.ports`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(meta: &Meta, field: &str, message: String) -> Self {
        Self {
            object: meta.key(),
            field: field.to_owned(),
            message,
        }
    }
}
