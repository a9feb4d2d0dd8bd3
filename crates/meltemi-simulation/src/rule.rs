//! Which rule a route, a filter chain or a cluster comes from.

use std::fmt;

use meltemi_api::{Kind, ObjectKey};
use meltemi_discovery::pb::core;
use serde::Serialize;

/// An object, and the field of it that decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
    /// For example `spec.http[0].match[1]`; empty for the object as a whole.
    pub field: String,
    #[serde(skip)]
    pub object: ObjectKey,
}

impl Rule {
    pub(crate) fn new(object: ObjectKey, field: String) -> Self {
        Self {
            kind: object.kind.as_str(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            field,
            object,
        }
    }

    pub(crate) fn of(metadata: Option<&core::Metadata>) -> Option<Self> {
        let meltemi_discovery::Rule { object, field } = meltemi_discovery::Rule::of(metadata)?;
        Some(Self::new(object, field))
    }

    /// A DestinationRule, from the path that Istio keeps in a cluster's metadata.
    pub(crate) fn of_cluster(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.rsplitn(4, '/').collect();
        let [name, "destination-rule", namespace, _] = parts[..] else {
            return None;
        };
        let object = ObjectKey::new(Kind::DestinationRule, namespace, name);
        Some(Self::new(object, String::new()))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if self.field.is_empty() {
            Ok(())
        } else {
            write!(f, " {}", self.field)
        }
    }
}
