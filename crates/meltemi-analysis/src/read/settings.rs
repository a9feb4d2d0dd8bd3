//! The mesh's settings: MeshConfig and MeshNetworks, which live in texts inside of objects.

use std::path::Path;
use std::sync::Arc;

use meltemi_api::mesh::MeshConfig;
use meltemi_api::{FieldPath, Finding, Kind, Object, Typed as _, decode_all};
use meltemi_config::yaml::{Content, Node, Position, parse};
use serde_json::json;

use super::{Reader, findings};
use crate::message::{Place, Problem};
use crate::{Code, Resource, ResourceName, code};

impl Reader<'_> {
    /// The mesh's settings: those given, else those of Istio's ConfigMap, else a MeshConfig
    /// object's, else the defaults.
    pub fn settings(&mut self) {
        let system = self.options.system_namespace.clone();
        let map = self.index.resources.iter().position(|resource| {
            resource.group.is_empty()
                && resource.name.kind == "ConfigMap"
                && resource.name.namespace == system
                && resource.name.name == "istio"
        });
        let given = self.options.mesh_config.clone();
        let given = given.map(|(file, text)| Embedded {
            file,
            text,
            line: 0,
        });
        let config = given.or_else(|| self.embedded(map?, "mesh"));
        let networks = map.and_then(|map| self.embedded(map, "meshNetworks"));
        self.index.mesh = match config {
            Some(config) => self
                .read_embedded(Kind::MeshConfig, &config)
                .and_then(|(_, object)| MeshConfig::of(&object.spec).cloned()),
            None => {
                let first = self.index.of::<MeshConfig>().next();
                first.map(|(_, config)| Arc::new(config.clone()))
            }
        }
        .unwrap_or_default();
        if let Some(networks) = networks
            && let Some((root, _)) = self.read_embedded(Kind::MeshNetworks, &networks)
        {
            let name = ResourceName {
                kind: Kind::MeshNetworks.as_str().to_owned(),
                namespace: system,
                name: "meshnetworks".into(),
            };
            let mut resource = Resource::new(Kind::MeshNetworks.group(), name, root, None);
            resource.file = Some(networks.file);
            self.index.push(resource);
        }
    }

    /// A text in a ConfigMap.
    fn embedded(&self, map: usize, key: &str) -> Option<Embedded> {
        let map = &self.index.resources[map];
        let entry = map.tree().at(&["data", key]);
        let text = entry.text();
        (!text.is_empty()).then_some(Embedded {
            file: map.file.clone()?,
            text: text.to_owned(),
            line: map.position(&entry.path).line,
        })
    }

    /// A text's document and object; what is wrong with them is remembered.
    fn read_embedded(&mut self, kind: Kind, embedded: &Embedded) -> Option<(Node, Object)> {
        let root = match parse(embedded.text.as_bytes()).into_iter().next()? {
            Ok(document) => shifted(document.root, embedded.line),
            Err(error) => {
                let finding = Finding::error(FieldPath::root(), error.message, error.remedy);
                let at = Position {
                    line: error.at.line + embedded.line,
                    ..error.at
                };
                self.embedded_problem(embedded, at, &code::SCHEMA_VALIDATION_ERROR, finding);
                return None;
            }
        };
        let value = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.as_str(),
            "metadata": {"name": "istio"},
            "spec": root.to_value(),
        });
        let (object, found) = match decode_all(&value, "") {
            Err(errors) => (None, findings::of_errors(errors)),
            Ok(object) => {
                let found = findings::of_object(&value, &object);
                (Some(object), found)
            }
        };
        for (code, finding) in found {
            let below_spec = finding.path.0.get(1..).unwrap_or_default().to_vec();
            let at = root.position(&FieldPath(below_spec));
            self.embedded_problem(embedded, at, code, finding);
        }
        Some((root, object?))
    }

    fn embedded_problem(
        &mut self,
        embedded: &Embedded,
        at: Position,
        code: &'static Code,
        finding: Finding,
    ) {
        self.index.problems.push(Problem {
            code,
            resource: None,
            place: Place {
                file: Arc::clone(&embedded.file),
                line: at.line,
                column: at.column,
            },
            finding,
        });
    }
}

/// A document that is a text in another one, or a file of its own.
struct Embedded {
    file: Arc<Path>,
    text: String,
    /// Line before its first.
    line: u32,
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
