//! The mesh's settings: MeshConfig and MeshNetworks, which live in texts inside of objects.

use std::path::Path;
use std::sync::Arc;

use meltemi_api::mesh::MeshConfig;
use meltemi_api::{FieldPath, Finding, Kind, Typed as _, decode};
use meltemi_config::yaml::{Content, Node, Position, parse};
use serde_json::json;

use super::findings::findings;
use super::{Problem, Reader};
use crate::message::Place;
use crate::{Resource, ResourceName, code};

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
