//! The store: an immutable snapshot of all objects, cheap to clone and to compare.

use std::collections::BTreeMap;
use std::sync::Arc;

use meltemi_api::mesh::MeshConfig;
use meltemi_api::{Kind, Meta, Object, ObjectKey, Typed};

/// Namespace whose objects apply to the whole mesh unless MeshConfig names another one.
pub const ROOT_NAMESPACE: &str = "istio-system";

/// All objects at one version. A clone costs one reference count.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    version: u64,
    map: Arc<BTreeMap<ObjectKey, Arc<Object>>>,
}

impl Objects {
    /// A snapshot; `version` must grow with every snapshot of one source.
    pub fn new(version: u64, objects: impl IntoIterator<Item = Arc<Object>>) -> Self {
        let map = objects
            .into_iter()
            .map(|object| (object.key(), object))
            .collect();
        Self {
            version,
            map: Arc::new(map),
        }
    }

    /// The same objects as another version.
    pub(crate) fn at_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.map.get(key)
    }

    /// One object's content.
    pub fn find<T: Typed>(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.get(&ObjectKey::new(T::KIND, namespace, name))
            .and_then(|o| T::of(&o.spec))
    }

    /// All objects, by kind, namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> + Clone {
        self.map.values()
    }

    /// The objects of a kind, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> + Clone {
        self.map
            .range(ObjectKey::new(kind, "", "")..)
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(_, object)| object)
    }

    /// The contents of a kind, by namespace and name.
    pub fn of<T: Typed + 'static>(&self) -> impl Iterator<Item = (&Meta, &Arc<T>)> + Clone {
        self.of_kind(T::KIND)
            .filter_map(|object| T::of(&object.spec).map(|content| (&object.meta, content)))
    }

    /// The mesh's settings: the MeshConfig of the root namespace, else the first one, else
    /// the defaults.
    pub fn mesh_config(&self) -> Arc<MeshConfig> {
        self.of::<MeshConfig>()
            .find(|(meta, _)| meta.namespace == ROOT_NAMESPACE)
            .or_else(|| self.of::<MeshConfig>().next())
            .map(|(_, config)| Arc::clone(config))
            .unwrap_or_default()
    }

    /// What changed since `old`, by kind, namespace and name. Objects compare by content, not
    /// by place.
    pub fn changes_since(&self, old: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (key, object) in self.map.iter() {
            let kind = match old.map.get(key) {
                None => ChangeKind::Added,
                Some(before) if Arc::ptr_eq(before, object) => continue,
                Some(before)
                    if before.meta.resource_version == object.meta.resource_version
                        && before.spec == object.spec =>
                {
                    continue;
                }
                Some(_) => ChangeKind::Updated,
            };
            changes.push(Change {
                key: key.clone(),
                kind,
            });
        }
        for key in old.map.keys().filter(|key| !self.map.contains_key(key)) {
            changes.push(Change {
                key: key.clone(),
                kind: ChangeKind::Removed,
            });
        }
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        changes
    }

    /// Whether both hold the same objects with the same content.
    pub fn same_content(&self, other: &Self) -> bool {
        self.len() == other.len() && self.changes_since(other).is_empty()
    }
}

/// A difference between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which object.
    pub key: ObjectKey,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// New.
    Added,
    /// Other content.
    Updated,
    /// Gone.
    Removed,
}
