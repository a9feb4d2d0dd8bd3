//! What is wrong with the configuration, said so that it can be found and mended.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use meltemi_api::{FieldPath, Finding, ObjectKey, Severity};
use serde::Serialize;

/// One thing that is wrong with a file or with an object in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct ConfigError {
    /// How bad it is.
    pub severity: Severity,
    /// Code of what the analysis found, `IST0101`.
    pub code: Option<&'static str>,
    /// File; none for text that came over the API.
    pub file: Option<Arc<Path>>,
    /// Line, from 1; 0 when it is about the file as a whole.
    pub line: u32,
    /// Column, from 1; 0 when it is about the file as a whole.
    pub column: u32,
    /// Which object, when that much could be read.
    pub object: Option<ObjectKey>,
    /// Which field; the object itself when empty.
    pub field: FieldPath,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl ConfigError {
    /// About a file as a whole.
    pub fn of_file(file: Arc<Path>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: None,
            file: Some(file),
            line: 0,
            column: 0,
            object: None,
            field: FieldPath::root(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// A finding about an object, at its position.
    pub fn of_finding(
        finding: Finding,
        file: Option<Arc<Path>>,
        at: crate::yaml::Position,
        object: ObjectKey,
    ) -> Self {
        Self {
            severity: finding.severity,
            code: None,
            file,
            line: at.line,
            column: at.column,
            object: Some(object),
            field: finding.path,
            message: finding.message,
            remedy: finding.remedy,
        }
    }

    /// Whether it refuses the object.
    pub fn is_error(&self) -> bool {
        self.severity.refuses()
    }
}

impl fmt::Display for ConfigError {
    /// `reviews.yaml:14: VirtualService default/reviews spec.http[0]: message; remedy`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) if self.line > 0 => write!(f, "{}:{}: ", file.display(), self.line)?,
            Some(file) => write!(f, "{}: ", file.display())?,
            None if self.line > 0 => write!(f, "line {}: ", self.line)?,
            None => {}
        }
        if let Some(object) = &self.object {
            write!(f, "{object}")?;
            if !self.field.is_root() {
                write!(f, " {}", self.field)?;
            }
            f.write_str(": ")?;
        } else if !self.field.is_root() {
            write!(f, "{}: ", self.field)?;
        }
        if let Some(code) = self.code {
            write!(f, "[{code}] ")?;
        }
        f.write_str(&self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}
