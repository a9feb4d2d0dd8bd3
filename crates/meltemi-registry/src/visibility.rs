//! Who sees an object.

use std::collections::BTreeSet;

/// Which namespaces see an object (`exportTo`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Visibility {
    #[default]
    Public,
    /// Only these namespaces; empty: none.
    Namespaces(BTreeSet<String>),
}

impl Visibility {
    /// Reads `exportTo` of an object in `namespace`: `*`, `.`, `~` or namespaces.
    /// Empty means the default, public.
    pub fn parse<'a>(export_to: impl IntoIterator<Item = &'a str>, namespace: &str) -> Self {
        let mut namespaces = BTreeSet::new();
        let mut any = false;
        for entry in export_to {
            any = true;
            match entry.trim() {
                "*" => return Self::Public,
                "~" | "" => {}
                "." => {
                    namespaces.insert(namespace.to_owned());
                }
                other => {
                    namespaces.insert(other.to_owned());
                }
            }
        }
        if any {
            Self::Namespaces(namespaces)
        } else {
            Self::Public
        }
    }

    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Public => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
    }
}
