//! A place in a document: its value, if there is one, and its path.

use std::collections::BTreeMap;

use meltemi_api::FieldPath;
use meltemi_config::yaml::{Content, Node};
use serde_json::Value;

/// A place in a document. Places that do not exist can be asked like any other.
#[derive(Debug, Clone)]
pub struct Tree<'a> {
    node: Option<&'a Node>,
    /// Path from the document's root.
    pub path: FieldPath,
}

impl<'a> Tree<'a> {
    /// The root of a document.
    pub fn root(node: &'a Node) -> Self {
        Self {
            node: Some(node),
            path: FieldPath::root(),
        }
    }

    /// A field.
    pub fn get(&self, name: &str) -> Self {
        let node = match self.node.map(|node| &node.content) {
            Some(Content::Map(entries)) => entries
                .iter()
                .find(|entry| entry.key == name)
                .map(|entry| &entry.value),
            _ => None,
        };
        Self {
            node: node.filter(|node| node.content != Content::Null),
            path: self.path.field(name),
        }
    }

    /// A field below fields.
    pub fn at(&self, names: &[&str]) -> Self {
        names.iter().fold(self.clone(), |tree, name| tree.get(name))
    }

    /// Whether there is a value other than null.
    pub fn exists(&self) -> bool {
        self.node.is_some()
    }

    /// The elements of a list; none when it is no list.
    pub fn items(&self) -> Vec<Self> {
        match self.node.map(|node| &node.content) {
            Some(Content::List(items)) => items
                .iter()
                .enumerate()
                .map(|(index, node)| Self {
                    node: Some(node),
                    path: self.path.index(index),
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The entries of a map; none when it is no map.
    pub fn entries(&self) -> Vec<(&'a str, Self)> {
        match self.node.map(|node| &node.content) {
            Some(Content::Map(entries)) => entries
                .iter()
                .map(|entry| (entry.key.as_str(), self.get(&entry.key)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Text; empty when it is none.
    pub fn text(&self) -> &'a str {
        match self.node.map(|node| &node.content) {
            Some(Content::Text(text)) => text,
            _ => "",
        }
    }

    /// A whole number.
    pub fn number(&self) -> Option<i64> {
        match self.node.map(|node| &node.content) {
            Some(Content::Number(number)) => number.as_i64(),
            _ => None,
        }
    }

    /// True when it is so written.
    pub fn is_true(&self) -> bool {
        matches!(
            self.node.map(|node| &node.content),
            Some(Content::Bool(true))
        )
    }

    /// A map of texts, such as labels; other values are left out.
    pub fn texts(&self) -> BTreeMap<String, String> {
        match self.node.map(|node| &node.content) {
            Some(Content::Map(entries)) => entries
                .iter()
                .filter_map(|entry| match &entry.value.content {
                    Content::Text(text) => Some((entry.key.clone(), text.clone())),
                    _ => None,
                })
                .collect(),
            _ => BTreeMap::new(),
        }
    }

    /// The plain value; null when there is none.
    pub fn value(&self) -> Value {
        self.node.map_or(Value::Null, Node::to_value)
    }
}
