//! What an analyzer says.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use meltemi_api::{FieldPath, Finding};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::{Code, Level, ResourceName};

/// Where something is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// File.
    pub file: Arc<Path>,
    /// Line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// Something wrong with a document, found while it was read, that an analyzer will say.
#[derive(Debug)]
pub(crate) struct Problem {
    pub code: &'static Code,
    /// Position in the index; none when the document is no object.
    pub resource: Option<usize>,
    pub place: Place,
    pub finding: Finding,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which one; it carries the level.
    pub code: &'static Code,
    /// Object; none when not even that could be read.
    pub resource: Option<ResourceName>,
    /// Cluster of the object, when files of several are looked at.
    pub cluster: Option<Arc<str>>,
    /// File and line of the field; none for objects that came from elsewhere.
    pub place: Option<Place>,
    /// Field that is at fault; the object itself when empty.
    pub field: FieldPath,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub remedy: String,
    /// Analyzer that said it.
    pub analyzer: &'static str,
}

impl Message {
    /// Level of its code.
    pub fn level(&self) -> Level {
        self.code.level
    }
}

impl fmt::Display for Message {
    /// `Error [IST0101] (VirtualService default/reviews reviews.yaml:12) spec.http[0]: text` and
    /// the remedy in a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.level(), self.code.id)?;
        let subject: Vec<String> = [
            self.resource.as_ref().map(ToString::to_string),
            self.cluster.as_ref().map(|name| format!("of {name}")),
            self.place.as_ref().map(ToString::to_string),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !subject.is_empty() {
            write!(f, " ({})", subject.join(" "))?;
        }
        if !self.field.is_root() {
            write!(f, " {}:", self.field)?;
        }
        write!(f, " {}", self.text)?;
        if !self.remedy.is_empty() {
            write!(f, "\n  remedy: {}", self.remedy)?;
        }
        Ok(())
    }
}

impl Serialize for Message {
    /// The keys `code`, `level`, `message`, `origin` and `reference` are istioctl's.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", self.code.id)?;
        map.serialize_entry("name", self.code.name)?;
        map.serialize_entry("level", &self.level())?;
        if let Some(resource) = &self.resource {
            map.serialize_entry("origin", resource)?;
        }
        if let Some(cluster) = &self.cluster {
            map.serialize_entry("cluster", cluster)?;
        }
        if let Some(place) = &self.place {
            map.serialize_entry("reference", &place.to_string())?;
        }
        if !self.field.is_root() {
            map.serialize_entry("field", &self.field)?;
        }
        map.serialize_entry("message", &self.text)?;
        map.serialize_entry("remedy", &self.remedy)?;
        map.serialize_entry("analyzer", self.analyzer)?;
        map.end()
    }
}
