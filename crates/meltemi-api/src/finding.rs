//! What validation and analysis say of an object.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::FieldPath;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object is wrong and refused; its last good version stays in force.
    Error,
    /// The object is right, but Meltemi cannot do it yet, and ignoring it would be dangerous:
    /// it is refused too.
    Unsupported,
    /// The object is taken; something in it will not do what it says.
    Warning,
    /// The object is right and taken; Meltemi cannot do something in it yet.
    Notice,
    /// The object is taken; something in it is of no consequence here.
    Info,
}

impl Severity {
    /// Whether the object is refused.
    pub const fn refuses(self) -> bool {
        matches!(self, Self::Error | Self::Unsupported)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Unsupported => "unsupported",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
        })
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where in the object.
    pub path: FieldPath,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// A reason to refuse the object.
    pub fn error(path: FieldPath, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Severity::Error, path, message, remedy)
    }

    /// A reason to be careful.
    pub fn warning(path: FieldPath, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Severity::Warning, path, message, remedy)
    }

    /// A reason to refuse an object that is right.
    pub fn unsupported(
        path: FieldPath,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Unsupported, path, message, remedy)
    }

    /// Something that has no effect yet.
    pub fn notice(path: FieldPath, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Severity::Notice, path, message, remedy)
    }

    /// Something worth knowing.
    pub fn info(path: FieldPath, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Severity::Info, path, message, remedy)
    }

    fn new(
        severity: Severity,
        path: FieldPath,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            path,
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}
