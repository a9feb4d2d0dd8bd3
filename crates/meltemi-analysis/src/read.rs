//! From files to resources, and to what is wrong with the documents themselves.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use meltemi_api::mesh::MeshConfig;
use meltemi_api::{
    DecodeError, FieldPath, Finding, Kind, Object, Severity, Support, Typed as _, decode, identify,
    not_honoured, unknown_fields, validate,
};
use meltemi_config::yaml::{Content, Node, Position, parse};
use serde_json::json;

use crate::index::Platform;
use crate::message::Place;
use crate::{Code, Index, Resource, ResourceName, Tree, code, default_gateway};

/// A file's text.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its name in messages.
    pub name: Arc<Path>,
    /// Content.
    pub bytes: Vec<u8>,
    /// Cluster whose objects it holds, when files of several are looked at together.
    pub cluster: Option<Arc<str>>,
    /// Whether its objects stand in for objects of the same name in files that are no overlay.
    pub overlay: bool,
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

/// Something wrong with a document, found while it was read.
#[derive(Debug)]
pub(crate) struct Problem {
    pub code: &'static Code,
    /// Position in the index; none when the document is no object.
    pub resource: Option<usize>,
    pub place: Place,
    pub finding: Finding,
}

/// Kinds that analyzers read and the mesh does not: group, kind, whether in a namespace.
const FOREIGN: [(&str, &str, bool); 6] = [
    ("gateway.networking.k8s.io", "Gateway", true),
    ("gateway.networking.k8s.io", "HTTPRoute", true),
    ("gateway.networking.k8s.io", "GRPCRoute", true),
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
        for file in files.iter().filter(|file| file.overlay) {
            reader.file(file);
        }
        for file in files.iter().filter(|file| !file.overlay) {
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
    /// The first definition of every object, and whether it is of an overlay.
    seen: HashMap<Key, (usize, bool)>,
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
        } else if !error.unknown_kind || is_istio(&root) {
            self.unreadable(error, &root, file);
        }
    }

    /// A document that is no object, or is of a kind that does not exist in a group of Istio's.
    fn unreadable(&mut self, error: DecodeError, root: &Node, file: &SourceFile) {
        let code = if error.unknown_kind {
            &code::UNKNOWN_KIND
        } else {
            &code::SCHEMA_VALIDATION_ERROR
        };
        self.index.problems.push(Problem {
            code,
            resource: None,
            place: place(file, root.position(&error.path)),
            finding: Finding::error(error.path, error.message, error.remedy),
        });
    }

    fn object(
        &mut self,
        kind: Kind,
        name: ResourceName,
        root: Node,
        value: &serde_json::Value,
        file: &SourceFile,
    ) {
        let decoded = decode(value, &self.options.default_namespace);
        let findings = match &decoded {
            Err(error) => vec![(
                &code::SCHEMA_VALIDATION_ERROR,
                Finding::error(error.path.clone(), &*error.message, &*error.remedy),
            )],
            Ok(object) => findings(value, object),
        };
        let object = decoded.ok().map(Arc::new);
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
        if let Some((first, overlay)) = self.seen.get(&key) {
            if *overlay == file.overlay {
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
        self.seen.insert(key, (position, file.overlay));
        Some(position)
    }

    /// The mesh's settings: those given, else those of Istio's ConfigMap, else a MeshConfig
    /// object's, else the defaults.
    fn settings(&mut self) {
        let system = self.options.system_namespace.clone();
        let map = self.index.resources.iter().position(|resource| {
            resource.group.is_empty()
                && resource.name.kind == "ConfigMap"
                && resource.name.namespace == system
                && resource.name.name == "istio"
        });
        if let Some((file, text)) = self.options.mesh_config.clone() {
            self.mesh_config(&text, &file, 0);
        } else if let Some((file, text, line)) = map.and_then(|map| self.embedded(map, "mesh")) {
            self.mesh_config(&text, &file, line);
        } else {
            let config = self.index.of::<MeshConfig>().next();
            let config = config.map(|(_, config)| Arc::new(config.clone()));
            self.index.mesh = config.unwrap_or_default();
        }
        if let Some((file, text, line)) = map.and_then(|map| self.embedded(map, "meshNetworks"))
            && let Some(Ok(document)) = parse(text.as_bytes()).into_iter().next()
        {
            let name = ResourceName {
                kind: "MeshNetworks".into(),
                namespace: system,
                name: "meshnetworks".into(),
            };
            let root = shifted(document.root, line);
            let mut resource = Resource::new("mesh.istio.io", name, root, None);
            resource.file = Some(file);
            self.index.push(resource);
        }
    }

    /// A text in a ConfigMap, its file, and the line before the text's first.
    fn embedded(&self, map: usize, key: &str) -> Option<(Arc<Path>, String, u32)> {
        let map = &self.index.resources[map];
        let entry = map.tree().at(&["data", key]);
        let text = entry.text();
        let line = map.position(&entry.path).line;
        (!text.is_empty())
            .then(|| (map.file.clone(), text.to_owned(), line))
            .and_then(|(file, text, line)| Some((file?, text, line)))
    }

    fn mesh_config(&mut self, text: &str, file: &Arc<Path>, line: u32) {
        let mut problem = |at: Position, code, finding| {
            self.index.problems.push(Problem {
                code,
                resource: None,
                place: Place {
                    file: Arc::clone(file),
                    line: at.line + line,
                    column: at.column,
                },
                finding,
            });
        };
        let document = match parse(text.as_bytes()).into_iter().next() {
            None => return,
            Some(Err(error)) => {
                let finding = Finding::error(FieldPath::root(), error.message, error.remedy);
                return problem(error.at, &code::SCHEMA_VALIDATION_ERROR, finding);
            }
            Some(Ok(document)) => document,
        };
        let value = json!({
            "apiVersion": Kind::MeshConfig.api_version(),
            "kind": Kind::MeshConfig.as_str(),
            "metadata": {"name": "istio"},
            "spec": document.root.to_value(),
        });
        let inner = |path: &FieldPath| {
            let below_spec = path.0.get(1..).unwrap_or_default();
            document.root.position(&FieldPath(below_spec.to_vec()))
        };
        match decode(&value, "") {
            Err(error) => {
                let finding = Finding::error(error.path, error.message, error.remedy);
                let at = inner(&finding.path);
                problem(at, &code::SCHEMA_VALIDATION_ERROR, finding);
            }
            Ok(object) => {
                for (code, finding) in findings(&value, &object) {
                    problem(inner(&finding.path), code, finding);
                }
                if let Some(config) = MeshConfig::of(&object.spec) {
                    self.index.mesh = Arc::clone(config);
                }
            }
        }
    }
}

/// What is to be said of one object without looking at others.
fn findings(value: &serde_json::Value, object: &Object) -> Vec<(&'static Code, Finding)> {
    let mut out: Vec<(&'static Code, Finding)> = validate(object)
        .into_iter()
        .map(|finding| match finding.severity {
            Severity::Error => (&code::SCHEMA_VALIDATION_ERROR, finding),
            _ => (&code::SCHEMA_WARNING, finding),
        })
        .collect();
    let kind = object.meta.kind;
    if kind.support() != Support::Honoured {
        let finding = Finding::warning(
            FieldPath::root().field("kind"),
            format!("Meltemi does not support {kind} yet"),
            "do not rely on it where Meltemi runs the mesh",
        );
        out.push((&code::NOT_HONOURED, finding));
    }
    let unknown = unknown_fields(value, object);
    let without_effect = not_honoured(value, object.meta.kind)
        .into_iter()
        .filter(|field| field.severity == Severity::Warning && is_users(&field.path))
        .filter(|field| !unknown.iter().any(|unknown| unknown.path == field.path));
    out.extend(without_effect.map(|field| {
        let finding = Finding::warning(
            field.path,
            "Meltemi accepts this field but does not honour it yet",
            "do not rely on it",
        );
        (&code::NOT_HONOURED, finding)
    }));
    out.extend(unknown.iter().map(|unknown| {
        let known = unknown.known.iter().map(String::as_str);
        let finding = Finding::warning(
            unknown.path.clone(),
            format!("unknown field {:?} has no effect", unknown.name),
            meltemi_api::did_you_mean(&unknown.name, known),
        );
        (&code::SCHEMA_WARNING, finding)
    }));
    out
}

/// Fields that a user writes; the status is the control plane's.
fn is_users(path: &FieldPath) -> bool {
    !matches!(path.0.first(), Some(meltemi_api::Segment::Field(name)) if name == "status")
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

/// Whether the document is of one of the groups of Istio's that Meltemi knows.
fn is_istio(root: &Node) -> bool {
    let mut known = Kind::ALL.into_iter().map(Kind::group);
    group_of(root).is_some_and(|group| group.ends_with(".istio.io") && known.any(|k| k == group))
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

/// A document inside of another file: its lines begin after `line`.
fn shifted(mut node: Node, line: u32) -> Node {
    node.at.line += line;
    match &mut node.content {
        Content::List(items) => {
            for item in items {
                *item = shifted(std::mem::replace(item, empty()), line);
            }
        }
        Content::Map(entries) => {
            for entry in entries {
                entry.at.line += line;
                entry.value = shifted(std::mem::replace(&mut entry.value, empty()), line);
            }
        }
        _ => {}
    }
    node
}

const fn empty() -> Node {
    Node {
        at: Position { line: 0, column: 0 },
        content: Content::Null,
    }
}
