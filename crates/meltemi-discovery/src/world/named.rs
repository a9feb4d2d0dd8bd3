//! An object's content together with its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use meltemi_api::{Meta, ObjectKey};

/// A spec with what translation needs of its metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Named<T> {
    pub key: ObjectKey,
    /// Sortable; empty when unknown. The oldest of conflicting objects wins.
    pub created: String,
    pub annotations: BTreeMap<String, String>,
    pub spec: Arc<T>,
}

impl<T> Named<T> {
    pub fn new(meta: &Meta, spec: Arc<T>) -> Self {
        Self {
            key: meta.key(),
            created: meta
                .creation_timestamp
                .map(|at| at.to_string())
                .unwrap_or_default(),
            annotations: meta.annotations.clone(),
            spec,
        }
    }

    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// Oldest first, then by name and namespace, as Istio resolves conflicts.
    pub fn age(&self) -> (&str, &str, &str) {
        (&self.created, &self.key.name, &self.key.namespace)
    }
}
