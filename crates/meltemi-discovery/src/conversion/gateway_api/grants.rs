//! ReferenceGrants: which objects may refer to which of another namespace.

use meltemi_api::gateway_api::{GROUP, ReferenceGrant};

use super::super::Source;

/// All grants.
pub struct Grants<'a>(Vec<Source<'a, ReferenceGrant>>);

impl<'a> Grants<'a> {
    pub fn new(grants: Vec<Source<'a, ReferenceGrant>>) -> Self {
        Self(grants)
    }

    /// Whether an object of the Gateway API may refer to another; within a namespace it may.
    pub fn allow(&self, from: (&str, &str), to: (&str, &str, &str, &str)) -> bool {
        let (from_kind, from_namespace) = from;
        let (group, kind, namespace, name) = to;
        from_namespace == namespace
            || self.0.iter().any(|grant| {
                grant.key.namespace == namespace
                    && grant.spec.from.iter().any(|from| {
                        (
                            from.group.as_str(),
                            from.kind.as_str(),
                            from.namespace.as_str(),
                        ) == (GROUP, from_kind, from_namespace)
                    })
                    && grant.spec.to.iter().any(|to| {
                        (to.group.as_str(), to.kind.as_str()) == (group, kind)
                            && (to.name.is_empty() || to.name == name)
                    })
            })
    }
}
