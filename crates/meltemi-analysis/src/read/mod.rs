//! From files to resources, and to what is wrong with the documents themselves.

mod findings;
mod settings;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use meltemi_api::{FieldPath, Finding, Kind, decode_all, identify};
use meltemi_config::yaml::{Content, Node, Position, parse};

use crate::index::Platform;
use crate::message::{Place, Problem};
use crate::{Index, Resource, ResourceName, Tree, code, default_gateway};

/// A file's text.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its name in messages.
    pub name: Arc<Path>,
    /// Content.
    pub bytes: Vec<u8>,
    /// Cluster whose objects it holds, when files of several are looked at together.
    pub cluster: Option<Arc<str>>,
    /// An object of a file of a higher layer stands in for those of its name in lower ones;
    /// within one layer a second definition is a mistake.
    pub layer: u8,
}

/// How files are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Namespace of objects that name none.
    pub default_namespace: String,
    /// Where the control plane and its settings live (Istio: `istio-system`).
    pub system_namespace: String,
    /// Mesh settings as YAML, by file name; before those that the files hold.
    pub mesh_config: Option<(Arc<Path>, String)>,
    /// What runs the workloads.
    pub platform: Platform,
    /// Assume Istio's default ingress gateway unless the files have one: its workload and its
    /// Service are seldom among a user's files.
    pub assume_gateway: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            default_namespace: "default".into(),
            system_namespace: meltemi_config::ROOT_NAMESPACE.into(),
            mesh_config: None,
            platform: Platform::Kubernetes,
            assume_gateway: true,
        }
    }
}

/// Kinds that analyzers read and the mesh does not: group, kind, whether in a namespace.
const FOREIGN: [(&str, &str, bool); 3] = [
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        false,
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        false,
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition", false),
];

impl Index {
    /// Reads files. Whatever cannot be read is remembered and said by the schema analyzer.
    pub fn read(files: &[SourceFile], options: &Options) -> Self {
        let mut reader = Reader {
            options,
            index: Self::new(options.platform, &options.system_namespace),
            seen: HashMap::new(),
        };
        let mut files: Vec<&SourceFile> = files.iter().collect();
        files.sort_by_key(|file| Reverse(file.layer));
        for file in files {
            reader.file(file);
        }
        reader.settings();
        if options.assume_gateway {
            for resource in default_gateway::resources(&reader.index) {
                reader.index.push(resource);
            }
        }
        reader.index
    }
}

type Key = (Option<Arc<str>>, String, ResourceName);

struct Reader<'a> {
    options: &'a Options,
    index: Index,
    /// The first definition of every object, and its layer.
    seen: HashMap<Key, (usize, u8)>,
}

impl Reader<'_> {
    fn file(&mut self, file: &SourceFile) {
        for document in parse(&file.bytes) {
            match document {
                Err(error) => self.index.problems.push(Problem {
                    code: &code::SCHEMA_VALIDATION_ERROR,
                    resource: None,
                    place: place(file, error.at),
                    finding: Finding::error(FieldPath::root(), error.message, error.remedy),
                }),
                Ok(document) => match list_items(document.root) {
                    Ok(items) => {
                        for item in items {
                            self.document(item, file);
                        }
                    }
                    Err(root) => self.document(root, file),
                },
            }
        }
    }

    fn document(&mut self, root: Node, file: &SourceFile) {
        let value = root.to_value();
        let error = match identify(&value, &self.options.default_namespace) {
            Ok(key) => {
                let name = ResourceName {
                    kind: key.kind.as_str().to_owned(),
                    namespace: key.namespace,
                    name: key.name,
                };
                return self.object(key.kind, name, root, &value, file);
            }
            Err(error) => error,
        };
        if let Some((group, name)) = self.foreign(&root) {
            self.add(Resource::new(group, name, root, None), file);
        } else if !error.unknown_kind {
            self.index.problems.push(Problem {
                code: &code::SCHEMA_VALIDATION_ERROR,
                resource: None,
                place: place(file, root.position(&error.path)),
                finding: Finding::error(error.path, error.message, error.remedy),
            });
        }
    }

    fn object(
        &mut self,
        kind: Kind,
        name: ResourceName,
        root: Node,
        value: &serde_json::Value,
        file: &SourceFile,
    ) {
        let (object, findings) = match decode_all(value, &self.options.default_namespace) {
            Err(errors) => (None, findings::of_errors(errors)),
            Ok(object) => {
                let findings = findings::of_object(value, &object);
                (Some(Arc::new(object)), findings)
            }
        };
        let at = root.at;
        let resource = Resource::new(kind.group(), name, root, object);
        let Some(position) = self.add(resource, file) else {
            return;
        };
        for (code, finding) in findings {
            self.index.problems.push(Problem {
                code,
                resource: Some(position),
                place: place(file, at),
                finding,
            });
        }
    }

    fn foreign(&self, root: &Node) -> Option<(&'static str, ResourceName)> {
        let tree = Tree::root(root);
        let (group, kind) = (group_of(root)?, tree.get("kind").text());
        let (group, kind, namespaced) = FOREIGN
            .into_iter()
            .find(|(g, k, _)| *g == group && *k == kind)?;
        let metadata = tree.get("metadata");
        let namespace = match (namespaced, metadata.get("namespace").text()) {
            (false, _) => "",
            (true, "") => &self.options.default_namespace,
            (true, namespace) => namespace,
        };
        let name = ResourceName {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: metadata.get("name").text().to_owned(),
        };
        Some((group, name))
    }

    /// Adds a resource unless another definition stands in for it.
    fn add(&mut self, mut resource: Resource, file: &SourceFile) -> Option<usize> {
        resource.file = Some(Arc::clone(&file.name));
        resource.cluster = file.cluster.clone();
        let key = (
            file.cluster.clone(),
            resource.group.clone(),
            resource.name.clone(),
        );
        if let Some((first, layer)) = self.seen.get(&key) {
            if *layer == file.layer {
                let first = &self.index.resources[*first];
                let at = first.position(&FieldPath::root());
                let first = first.file.as_ref().map_or_else(String::new, |file| {
                    format!("{}:{}", file.display(), at.line)
                });
                let finding = Finding::error(
                    FieldPath::root(),
                    format!("{} is defined a second time, after {first}", resource.name),
                    "keep one of the two, or give this one another name",
                );
                self.index.problems.push(Problem {
                    code: &code::DUPLICATE_OBJECT,
                    resource: None,
                    place: place(file, resource.position(&FieldPath::root())),
                    finding,
                });
            }
            return None;
        }
        let position = self.index.push(resource);
        self.seen.insert(key, (position, file.layer));
        Some(position)
    }
}

fn place(file: &SourceFile, at: Position) -> Place {
    Place {
        file: Arc::clone(&file.name),
        line: at.line,
        column: at.column,
    }
}

fn group_of(root: &Node) -> Option<&str> {
    let Content::Map(entries) = &root.content else {
        return None;
    };
    let version = entries.iter().find(|entry| entry.key == "apiVersion")?;
    match &version.value.content {
        Content::Text(text) => Some(text.rsplit_once('/').map_or("", |(group, _)| group)),
        _ => None,
    }
}

/// The items of a `v1 List`, else the document itself.
fn list_items(root: Node) -> Result<Vec<Node>, Node> {
    let tree = Tree::root(&root);
    let is_list = tree.get("apiVersion").text() == "v1" && tree.get("kind").text() == "List";
    match root.content {
        Content::Map(entries) if is_list => Ok(entries
            .into_iter()
            .find(|entry| entry.key == "items")
            .and_then(|entry| match entry.value.content {
                Content::List(items) => Some(items),
                _ => None,
            })
            .unwrap_or_default()),
        content => Err(Node {
            at: root.at,
            content,
        }),
    }
}
