//! What one client wants of one type.

use std::collections::BTreeSet;

/// What a client is subscribed to for one type: everything, some names, or both
/// (delta xDS allows a wildcard together with names, for resources loaded on
/// demand).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// Every resource the source considers the proxy's.
    pub wildcard: bool,
    /// Explicitly named resources.
    pub names: BTreeSet<String>,
}

impl Subscription {
    /// A subscription to everything.
    pub fn wildcard() -> Self {
        Self {
            wildcard: true,
            names: BTreeSet::new(),
        }
    }

    /// A subscription to the given names only.
    pub fn names<I: IntoIterator<Item = impl Into<String>>>(names: I) -> Self {
        Self {
            wildcard: false,
            names: names.into_iter().map(Into::into).collect(),
        }
    }

    /// Whether a resource of that name is wanted.
    pub fn matches(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Whether nothing at all is wanted.
    pub fn is_empty(&self) -> bool {
        !self.wildcard && self.names.is_empty()
    }
}
