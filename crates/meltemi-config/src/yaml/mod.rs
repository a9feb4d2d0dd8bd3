//! YAML to documents in which every value knows its line and column.
//!
//! A stream is cut at its `---` lines first, so that a broken document hides neither the
//! ones before nor the ones after it. Scalars are read as Kubernetes reads them (go-yaml:
//! `yes` and `on` are booleans, `0644` is octal), except that keys are text as written. [`parse`] is total: it
//! returns for any bytes.

mod node;
mod parse;
mod scalar;
mod split;

pub use node::{Content, Entry, Node, Position};
pub use parse::{Document, SyntaxError, parse};

/// Longest file read, bytes.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 128;
/// Most values of one document, aliases expanded.
pub const MAX_NODES: usize = 1_000_000;
