//! Values with positions.

use meltemi_api::{FieldPath, Segment};
use serde_json::{Map, Number, Value};

/// Where something starts in a file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it starts.
    pub at: Position,
    /// What it is.
    pub content: Content,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file; its keys are unique.
    Map(Vec<Entry>),
}

/// An entry of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Key, as text.
    pub key: String,
    /// Where the key starts.
    pub at: Position,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The plain value.
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(value) => Value::Number(value.clone()),
            Content::Text(value) => Value::String(value.clone()),
            Content::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Content::Map(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    map.insert(entry.key.clone(), entry.value.to_value());
                }
                Value::Object(map)
            }
        }
    }

    /// Where a field is: its key's place, an element's place, or the place of the deepest
    /// part of the path that exists.
    pub fn position(&self, path: &FieldPath) -> Position {
        let mut node = self;
        let mut at = self.at;
        for segment in &path.0 {
            match (segment, &node.content) {
                (Segment::Field(name), Content::Map(entries)) => {
                    let Some(entry) = entries.iter().find(|e| e.key == *name) else {
                        return at;
                    };
                    at = entry.at;
                    node = &entry.value;
                }
                (Segment::Index(index), Content::List(items)) => {
                    let Some(item) = items.get(*index) else {
                        return at;
                    };
                    at = item.at;
                    node = item;
                }
                _ => return at,
            }
        }
        at
    }
}
