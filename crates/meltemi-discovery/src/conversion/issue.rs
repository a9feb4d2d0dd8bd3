//! What of an object cannot be honoured: for people an issue, for programs a condition.

use meltemi_api::ObjectKey;

use crate::issue::Issues;

/// A part of an object that is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The Gateway API's word for it.
    pub reason: &'static str,
    /// The field's path.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    pub fn new(reason: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason,
            field: field.into(),
            message: message.into(),
        }
    }

    pub fn report(&self, object: &ObjectKey, issues: &mut Issues) {
        issues.add(object, &self.field, &self.message);
    }
}
