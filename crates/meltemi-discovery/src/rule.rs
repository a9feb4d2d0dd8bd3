//! Which object and field a route or a filter chain was made of, kept in its metadata.

use meltemi_api::{Kind, ObjectKey};

use crate::pb::{core, structs};

/// Key in the metadata; Istio's own names the object alone.
const NAMESPACE: &str = "meltemi";

/// A part of an object that decides what becomes of requests or connections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub object: ObjectKey,
    /// The field's path, for example `spec.http[0].match[1]`.
    pub field: String,
}

impl Rule {
    /// Reads what translation wrote; `None` for what no rule made.
    pub fn of(metadata: Option<&core::Metadata>) -> Option<Self> {
        let metadata = metadata?;
        let text = |name: &str| structs::text(metadata, NAMESPACE, name).map(str::to_owned);
        let kind = text("kind")?;
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
        Some(Self {
            object: ObjectKey::new(kind, text("namespace")?, text("name")?),
            field: text("field")?,
        })
    }

    /// Where a destination of the rule is. In other objects than VirtualServices the backends as a
    /// whole: some of them may have been left out.
    pub(crate) fn destination(&self, index: usize) -> String {
        match self.object.kind {
            Kind::VirtualService => format!("{}.route[{index}].destination", self.field),
            Kind::Ingress => self.field.clone(),
            _ => format!("{}.backendRefs", self.of_matches()),
        }
    }

    /// Where a copy's destination is; `name` is the field of a VirtualService.
    pub(crate) fn mirror(&self, name: &str) -> String {
        match self.object.kind {
            Kind::VirtualService => format!("{}.{name}", self.field),
            _ => format!("{}.filters", self.of_matches()),
        }
    }

    /// The rule that a match is of.
    fn of_matches(&self) -> &str {
        let end = self.field.find(".matches[").unwrap_or(self.field.len());
        &self.field[..end]
    }

    /// The rule, and the VirtualService that it takes effect through (a delegate's rules do
    /// through the object that delegates).
    pub(crate) fn metadata(&self, virtual_service: &ObjectKey) -> core::Metadata {
        let mut metadata = structs::config_metadata(
            "virtual-service",
            &virtual_service.namespace,
            &virtual_service.name,
        );
        let rule = structs::structure([
            ("kind", structs::string(self.object.kind.as_str())),
            ("namespace", structs::string(&self.object.namespace)),
            ("name", structs::string(&self.object.name)),
            ("field", structs::string(&self.field)),
        ]);
        metadata.filter_metadata.insert(NAMESPACE.to_owned(), rule);
        metadata
    }
}
