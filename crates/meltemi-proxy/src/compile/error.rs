//! Why a resource is refused, and what it is accepted without.

use std::borrow::Cow;
use std::fmt;

/// A refusal: the field's path within its resource and the reason. Whoever knows the
/// resource's name adds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    field: String,
    reason: String,
}

impl Error {
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            field: String::new(),
            reason: reason.into(),
        }
    }

    /// A field that is understood but not implemented.
    pub fn unsupported(field: &str) -> Self {
        Self::new("is not supported").within(field)
    }

    /// A field that must be set.
    pub fn missing(field: &str) -> Self {
        Self::new("is required").within(field)
    }

    /// Dotted path, `filter_chains[1].filters[0].typed_config`; empty for the whole resource.
    pub fn field(&self) -> &str {
        &self.field
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The same error, below that field.
    pub fn at_field(self, field: &str) -> Self {
        self.within(field)
    }

    fn within(mut self, parent: &str) -> Self {
        self.field = if self.field.is_empty() {
            parent.to_owned()
        } else {
            format!("{parent}.{}", self.field)
        };
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.field, self.reason)
        }
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;

/// Adds the field to an error's path on its way up; costs nothing without an error.
pub trait At<T> {
    fn at(self, field: &str) -> Result<T>;
    fn nth(self, field: &str, index: usize) -> Result<T>;
}

impl<T> At<T> for Result<T> {
    fn at(self, field: &str) -> Result<T> {
        self.map_err(|error| error.within(field))
    }

    fn nth(self, field: &str, index: usize) -> Result<T> {
        self.map_err(|error| error.within(&format!("{field}[{index}]")))
    }
}

/// Something a resource asks for that is left out because traffic flows the same without
/// it. Shown in `/config_dump` and in the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// `Message.field`.
    pub field: &'static str,
    pub reason: Cow<'static, str>,
}
