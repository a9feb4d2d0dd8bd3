//! What one client wants of one type.

use std::collections::BTreeSet;

use crate::type_url as types;

/// What a client is subscribed to for one type: everything, some names, or both
/// (delta xDS allows a wildcard together with names, for resources loaded on
/// demand).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// Every resource the source considers the proxy's.
    pub wildcard: bool,
    /// Explicitly named resources.
    pub names: BTreeSet<String>,
    /// A name also stands for all resources `NAME/...`.
    pub namespaces: bool,
}

/// The part of a name before its last slash.
pub fn namespace(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(namespace, _)| namespace)
}

impl Subscription {
    /// Nothing of a type yet.
    pub fn of(type_url: &str) -> Self {
        Self {
            namespaces: types::is_namespaced(type_url),
            ..Self::default()
        }
    }

    /// A subscription to everything.
    pub fn wildcard() -> Self {
        Self {
            wildcard: true,
            ..Self::default()
        }
    }

    /// A subscription to the given names only.
    pub fn names<I: IntoIterator<Item = impl Into<String>>>(names: I) -> Self {
        Self {
            names: names.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Whether a resource of that name is wanted.
    pub fn matches(&self, name: &str) -> bool {
        self.wildcard
            || self.names.contains(name)
            || self.namespaces
                && namespace(name).is_some_and(|namespace| self.names.contains(namespace))
    }

    /// Whether nothing at all is wanted.
    pub fn is_empty(&self) -> bool {
        !self.wildcard && self.names.is_empty()
    }
}
