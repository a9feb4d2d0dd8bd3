//! Where in an object something is: `spec.http[0].route[1].weight`.

use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A field or a map key.
    Field(String),
    /// An element of a list, from 0.
    Index(usize),
}

/// A path from the object's root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FieldPath(pub Vec<Segment>);

impl FieldPath {
    /// The object itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// `spec`.
    pub fn spec() -> Self {
        Self::root().field("spec")
    }

    /// This path and a field below it.
    #[must_use]
    pub fn field(&self, name: impl Into<String>) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Field(name.into()));
        path
    }

    /// This path and an element below it.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Index(index));
        path
    }

    /// Without the last step.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }

    /// Whether it is the object itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::str::FromStr for FieldPath {
    type Err = std::convert::Infallible;

    /// Reads what [`fmt::Display`] writes of plain names; text that is none is a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut path = Self::root();
        for part in text.split('.').filter(|part| !part.is_empty()) {
            let (name, indices) = part.split_once('[').unwrap_or((part, ""));
            path.0.push(Segment::Field(name.to_owned()));
            for index in indices.split(['[', ']']).filter(|index| !index.is_empty()) {
                path.0.push(match index.parse() {
                    Ok(index) => Segment::Index(index),
                    Err(_) => Segment::Field(index.to_owned()),
                });
            }
        }
        Ok(path)
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Field(name) if is_plain(name) => {
                    let dot = if i == 0 { "" } else { "." };
                    write!(f, "{dot}{name}")?;
                }
                Segment::Field(name) => write!(f, "[{name:?}]")?,
            }
        }
        Ok(())
    }
}

impl serde::Serialize for FieldPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
