//! What of an object a proxy does not get.

use meltemi_api::ObjectKey;

/// A field that cannot be honoured, or only in part, for some proxy. Everything else of the
/// object is in force.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issue {
    pub object: ObjectKey,
    /// The field's path, for example `spec.http[0].match[1].uri`.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Collects issues; the same one twice counts once.
#[derive(Debug, Default)]
pub struct Issues(std::collections::BTreeSet<Issue>);

impl Issues {
    pub fn add(
        &mut self,
        object: &ObjectKey,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.0.insert(Issue {
            object: object.clone(),
            field: field.into(),
            message: message.into(),
        });
    }

    pub fn extend(&mut self, other: impl IntoIterator<Item = Issue>) {
        self.0.extend(other);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order of object and field.
    pub fn into_vec(self) -> Vec<Issue> {
        self.0.into_iter().collect()
    }
}
