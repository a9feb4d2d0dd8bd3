//! All objects that are looked at together.

use std::collections::BTreeMap;
use std::sync::Arc;

use meltemi_api::Typed;
use meltemi_api::mesh::MeshConfig;
use meltemi_config::Objects;

use crate::Resource;
use crate::message::Problem;

/// What runs the workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// Kubernetes: sidecars come from Istio's webhook, by labels of namespaces and pods.
    Kubernetes,
    /// Meltemi on one machine: every pod has a sidecar unless it declines.
    Local,
}

/// An immutable set of objects.
#[derive(Debug)]
pub struct Index {
    /// What runs the workloads.
    pub platform: Platform,
    /// The mesh's settings.
    pub mesh: Arc<MeshConfig>,
    pub(crate) system_namespace: String,
    pub(crate) resources: Vec<Resource>,
    pub(crate) problems: Vec<Problem>,
    by_kind: BTreeMap<String, Vec<usize>>,
}

impl Index {
    pub(crate) fn new(platform: Platform, system_namespace: &str) -> Self {
        Self {
            platform,
            mesh: Arc::default(),
            system_namespace: system_namespace.to_owned(),
            resources: Vec::new(),
            problems: Vec::new(),
            by_kind: BTreeMap::new(),
        }
    }

    /// The objects of a store. Their fields have the line of their document, and kinds without
    /// a type are not seen.
    pub fn of_objects(objects: &Objects, platform: Platform) -> Self {
        let mut index = Self::new(platform, meltemi_config::ROOT_NAMESPACE);
        index.mesh = objects.mesh_config();
        for object in objects.iter() {
            index.push(Resource::of_object(object));
        }
        index
    }

    pub(crate) fn push(&mut self, resource: Resource) -> usize {
        let position = self.resources.len();
        self.by_kind
            .entry(resource.name.kind.clone())
            .or_default()
            .push(position);
        self.resources.push(resource);
        position
    }

    /// The objects of a group and kind, in the order of the files.
    pub fn kind(&self, group: &str, kind: &str) -> impl Iterator<Item = &Resource> + Clone {
        self.by_kind
            .get(kind)
            .into_iter()
            .flatten()
            .map(|position| &self.resources[*position])
            .filter(move |resource| resource.group == group)
    }

    /// The objects of a type, in the order of the files.
    pub fn of<T: Typed + 'static>(&self) -> impl Iterator<Item = (&Resource, &T)> + Clone {
        self.by_kind
            .get(T::KIND.as_str())
            .into_iter()
            .flatten()
            .map(|position| &self.resources[*position])
            .filter_map(|resource| {
                let content = T::of(&resource.object.as_ref()?.spec)?;
                Some((resource, content.as_ref()))
            })
    }

    /// One object of a type.
    pub fn find<T: Typed + 'static>(&self, namespace: &str, name: &str) -> Option<(&Resource, &T)> {
        self.of::<T>()
            .find(|(resource, _)| resource.namespace() == namespace && resource.name.name == name)
    }

    /// One object of a kind.
    pub fn named(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<&Resource> {
        self.kind(group, kind)
            .find(|resource| resource.namespace() == namespace && resource.name.name == name)
    }

    /// Labels of a namespace; none when the index does not have it.
    pub fn namespace_labels(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.named("", "Namespace", "", namespace)
            .map(|resource| &resource.labels)
    }

    /// The namespace whose objects apply to the whole mesh.
    pub fn root_namespace(&self) -> &str {
        match &self.mesh.root_namespace {
            Some(namespace) if !namespace.is_empty() => namespace,
            _ => &self.system_namespace,
        }
    }
}
