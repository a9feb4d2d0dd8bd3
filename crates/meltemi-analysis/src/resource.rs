//! An object of the index: its name, its document and, for the kinds that Meltemi knows, its
//! typed content.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use meltemi_api::{FieldPath, Object};
use meltemi_config::yaml::{Content, Node, Position};
use serde::{Serialize, Serializer};

use crate::Tree;

/// What identifies an object to people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName {
    /// `VirtualService`.
    pub kind: String,
    /// Namespace; empty for a kind without.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ResourceName {
    /// `VirtualService default/reviews`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl Serialize for ResourceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An object and where it was written.
#[derive(Debug)]
pub struct Resource {
    /// API group; empty for Kubernetes' core group.
    pub group: String,
    /// Kind, namespace and name.
    pub name: ResourceName,
    /// Cluster, when files of several are looked at together.
    pub cluster: Option<Arc<str>>,
    /// File; none for an object that Meltemi assumes.
    pub file: Option<Arc<Path>>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Typed content of a kind that Meltemi knows, when it could be read.
    pub object: Option<Arc<Object>>,
    document: Node,
}

impl Resource {
    /// An object whose document is at hand.
    pub(crate) fn new(
        group: &str,
        name: ResourceName,
        document: Node,
        object: Option<Arc<Object>>,
    ) -> Self {
        let metadata = Tree::root(&document).get("metadata");
        Self {
            group: group.to_owned(),
            name,
            cluster: None,
            file: None,
            labels: metadata.get("labels").texts(),
            annotations: metadata.get("annotations").texts(),
            object,
            document,
        }
    }

    /// An object of the store: every field is at the line of its document.
    pub(crate) fn of_object(object: &Arc<Object>) -> Self {
        let meta = &object.meta;
        let line = meta.origin.as_ref().map_or(0, |origin| origin.line);
        Self {
            group: meta.kind.group().to_owned(),
            name: ResourceName {
                kind: meta.kind.as_str().to_owned(),
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
            },
            cluster: None,
            file: meta.origin.as_ref().map(|origin| Arc::clone(&origin.file)),
            labels: meta.labels.clone(),
            annotations: meta.annotations.clone(),
            object: Some(Arc::clone(object)),
            document: Node {
                at: Position { line, column: 1 },
                content: Content::Map(Vec::new()),
            },
        }
    }

    /// Namespace; empty for a kind without.
    pub fn namespace(&self) -> &str {
        &self.name.namespace
    }

    /// The document.
    pub fn tree(&self) -> Tree<'_> {
        Tree::root(&self.document)
    }

    /// Where a field is: the line of its key, or of the deepest part of the path that is there.
    pub fn position(&self, path: &FieldPath) -> Position {
        self.document.position(path)
    }

    /// `namespace/name`, or the name alone.
    pub fn full_name(&self) -> String {
        if self.name.namespace.is_empty() {
            self.name.name.clone()
        } else {
            format!("{}/{}", self.name.namespace, self.name.name)
        }
    }
}
