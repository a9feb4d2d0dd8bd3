//! One file's text to objects and to what is wrong with them. Pure.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use meltemi_api::{
    DecodeError, FieldPath, Kind, Meta, Object, ObjectKey, Origin, Severity, Spec, check,
    decode_all, identify,
};
use serde_json::Value;

use crate::ConfigError;
use crate::store::ROOT_NAMESPACE;
use crate::yaml::{Content, Node, Position, parse};

/// How a directory's documents are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// Namespace of objects that name none.
    pub default_namespace: String,
    /// Whose word it is.
    pub trust: Trust,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            default_namespace: "default".into(),
            trust: Trust::User,
        }
    }
}

/// Whose word a directory's documents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// The platform's (the supervisor's): its objects win, `status` is believed.
    Platform,
    /// The user's: `status` is ignored with a warning.
    User,
}

/// One definition in a file.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    /// Which object, when that much could be read.
    pub key: Option<ObjectKey>,
    /// The object, when it is right.
    pub object: Option<Arc<Object>>,
    /// What is wrong with it.
    pub problems: Vec<ConfigError>,
    /// The document's bytes in the file.
    pub range: Range<usize>,
    /// Line of its first field.
    pub line: u32,
    /// It shares its document with others (a `List`), or was derived from another object.
    pub shared: bool,
    /// Its kind, when Meltemi does not know it.
    pub unknown_kind: Option<String>,
}

/// Reads a file.
pub(crate) fn load(file: &Arc<Path>, bytes: &[u8], options: &ReadOptions) -> Vec<Definition> {
    let mut out = Vec::new();
    for document in parse(bytes) {
        match document {
            Ok(document) => {
                let reader = Reader {
                    file,
                    bytes,
                    options,
                    range: document.range,
                };
                reader.document(&document.root, &mut out);
            }
            Err(error) => out.push(Definition {
                key: None,
                object: None,
                line: error.at.line,
                range: error.range,
                shared: false,
                unknown_kind: None,
                problems: vec![ConfigError {
                    severity: Severity::Error,
                    code: None,
                    file: Some(Arc::clone(file)),
                    line: error.at.line,
                    column: error.at.column,
                    object: None,
                    field: FieldPath::root(),
                    message: error.message,
                    remedy: error.remedy,
                }],
            }),
        }
    }
    out
}

struct Reader<'a> {
    file: &'a Arc<Path>,
    bytes: &'a [u8],
    options: &'a ReadOptions,
    range: Range<usize>,
}

impl Reader<'_> {
    fn document(&self, root: &Node, out: &mut Vec<Definition>) {
        match list_items(root) {
            Some(items) => {
                for item in items {
                    let mut definition = self.definition(item);
                    definition.shared = true;
                    self.push(definition, item, out);
                }
            }
            None => self.push(self.definition(root), root, out),
        }
    }

    fn push(&self, definition: Definition, node: &Node, out: &mut Vec<Definition>) {
        let mesh: Vec<Definition> = mesh_texts(definition.object.as_deref())
            .map(|(kind, entry, text)| self.mesh_wide(kind, entry, text, node))
            .collect();
        out.push(definition);
        out.extend(mesh);
    }

    fn definition(&self, root: &Node) -> Definition {
        let mut value = root.to_value();
        let mut problems = Vec::new();
        let mut definition = Definition {
            key: identify(&value, &self.options.default_namespace).ok(),
            object: None,
            problems: Vec::new(),
            range: self.range.clone(),
            line: root.at.line,
            shared: false,
            unknown_kind: None,
        };
        if let Some(key) = &definition.key {
            self.ignore_foreign_status(&mut value, key, root, &mut problems);
        }
        match decode_all(&value, &self.options.default_namespace) {
            Err(errors) => {
                if errors.iter().any(|error| error.unknown_kind) {
                    let kind = value.get("kind").and_then(Value::as_str);
                    definition.unknown_kind = kind.map(str::to_owned);
                }
                let key = &definition.key;
                let told = errors
                    .into_iter()
                    .map(|error| self.decode_problem(error, root, key.clone()));
                problems.extend(told);
            }
            Ok(mut object) => {
                let key = object.key();
                problems.extend(check(&value, &object).into_iter().map(|finding| {
                    let at = root.position(&finding.path);
                    ConfigError::of_finding(finding, Some(Arc::clone(self.file)), at, key.clone())
                }));
                if !problems.iter().any(ConfigError::is_error) {
                    object.meta.resource_version = content_hash(&value);
                    object.meta.origin = Some(Origin {
                        file: Arc::clone(self.file),
                        line: root.at.line,
                    });
                    definition.object = Some(Arc::new(object));
                }
            }
        }
        definition.problems = problems;
        definition
    }

    fn decode_problem(
        &self,
        error: DecodeError,
        root: &Node,
        key: Option<ObjectKey>,
    ) -> ConfigError {
        let at = root.position(&error.path);
        ConfigError {
            severity: if error.unknown_kind {
                Severity::Warning
            } else {
                Severity::Error
            },
            code: None,
            file: Some(Arc::clone(self.file)),
            line: at.line,
            column: at.column,
            object: error.key.or(key),
            field: error.path,
            message: error.message.into(),
            remedy: error.remedy.into(),
        }
    }

    /// A user's document cannot claim what only the platform knows, such as a Pod's address.
    fn ignore_foreign_status(
        &self,
        value: &mut Value,
        key: &ObjectKey,
        root: &Node,
        problems: &mut Vec<ConfigError>,
    ) {
        if self.options.trust == Trust::Platform {
            return;
        }
        let Some(status) = value
            .as_object_mut()
            .and_then(|map| map.shift_remove("status"))
        else {
            return;
        };
        let empty = match &status {
            Value::Null => true,
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if empty {
            return;
        }
        let path = FieldPath::root().field("status");
        let at = root.position(&path);
        problems.push(ConfigError {
            severity: Severity::Info,
            code: None,
            file: Some(Arc::clone(self.file)),
            line: at.line,
            column: at.column,
            object: Some(key.clone()),
            field: path,
            message: "status is what the mesh reports; what the file says of it is not used".into(),
            remedy: "leave it out".into(),
        });
    }

    /// Istio's ConfigMap `istio` holds the mesh's settings as text.
    fn mesh_wide(&self, kind: Kind, entry: &str, text: &str, node: &Node) -> Definition {
        let text_path = FieldPath::root().field("data").field(entry);
        let at = node.position(&text_path);
        let block = is_block(self.bytes, at);
        let key = ObjectKey::new(kind, ROOT_NAMESPACE, "istio");
        let wrong =
            |field: FieldPath, inner: Position, message: String, remedy: String| ConfigError {
                severity: Severity::Error,
                code: None,
                file: Some(Arc::clone(self.file)),
                line: at.line + if block { inner.line } else { 0 },
                column: at.column,
                object: Some(key.clone()),
                field,
                message,
                remedy,
            };
        let mut definition = Definition {
            key: Some(key.clone()),
            object: None,
            problems: Vec::new(),
            range: self.range.clone(),
            line: at.line,
            shared: true,
            unknown_kind: None,
        };
        let root = match parse(text.as_bytes()).into_iter().next() {
            None => Node {
                at: Position::default(),
                content: Content::Map(Vec::new()),
            },
            Some(Ok(document)) => document.root,
            Some(Err(error)) => {
                let problem = wrong(text_path, error.at, error.message, error.remedy);
                definition.problems.push(problem);
                return definition;
            }
        };
        let value = serde_json::json!({
            "apiVersion": kind.api_version(),
            "kind": kind.as_str(),
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": root.to_value(),
        });
        let inner = |path: &FieldPath| {
            root.position(&FieldPath(path.0.get(1..).unwrap_or_default().to_vec()))
        };
        match decode_all(&value, ROOT_NAMESPACE) {
            Err(errors) => {
                let told = errors.into_iter().map(|e| {
                    let at = inner(&e.path);
                    wrong(e.path, at, e.message.into(), e.remedy.into())
                });
                definition.problems.extend(told);
            }
            Ok(mut object) => {
                for finding in check(&value, &object) {
                    let at = inner(&finding.path);
                    let mut problem = wrong(finding.path, at, finding.message, finding.remedy);
                    problem.severity = finding.severity;
                    definition.problems.push(problem);
                }
                if !definition.problems.iter().any(ConfigError::is_error) {
                    object.meta.resource_version = content_hash(&value);
                    object.meta.origin = Some(Origin {
                        file: Arc::clone(self.file),
                        line: at.line,
                    });
                    definition.object = Some(Arc::new(object));
                }
            }
        }
        definition
    }
}

/// Whether the text after a key is written as a block, whose lines follow the key's.
fn is_block(bytes: &[u8], key: Position) -> bool {
    let rest = || {
        let before = |number: u32| usize::try_from(number).ok()?.checked_sub(1);
        let line = bytes.split(|b| *b == b'\n').nth(before(key.line)?)?;
        let line = std::str::from_utf8(line).ok()?;
        let (start, _) = line.char_indices().nth(before(key.column)?)?;
        line[start..]
            .split_once(": ")
            .map(|(_, rest)| rest.trim_start())
    };
    rest().is_some_and(|rest| rest.starts_with(['|', '>']))
}

fn child<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    match &node.content {
        Content::Map(entries) => entries.iter().find(|e| e.key == name).map(|e| &e.value),
        _ => None,
    }
}

/// The items of a `v1 List`.
fn list_items(root: &Node) -> Option<&[Node]> {
    let is = |name: &str, text: &str| matches!(child(root, name).map(|node| &node.content), Some(Content::Text(is)) if is == text);
    match child(root, "items").map(|node| &node.content) {
        Some(Content::List(items)) if is("apiVersion", "v1") && is("kind", "List") => Some(items),
        _ => None,
    }
}

/// What Istio's ConfigMap says of the mesh: kind, entry, text.
fn mesh_texts(
    object: Option<&Object>,
) -> impl Iterator<Item = (Kind, &'static str, &str)> + use<'_> {
    let data = match object {
        Some(Object {
            meta: Meta {
                name, namespace, ..
            },
            spec: Spec::ConfigMap(map),
        }) if name == "istio" && namespace == ROOT_NAMESPACE => map.data.as_ref(),
        _ => None,
    };
    [
        (Kind::MeshConfig, "mesh"),
        (Kind::MeshNetworks, "meshNetworks"),
    ]
    .into_iter()
    .filter_map(move |(kind, entry)| Some((kind, entry, data?.get(entry)?.as_str())))
}

/// Changes with the content; the same in every process (`DefaultHasher::new` has fixed keys).
pub(crate) fn content_hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}
