//! Files looked at without a mesh: what is in them, and what is wrong with it.

use std::path::Path;
use std::sync::Arc;

use meltemi_api::ObjectKey;

use crate::load::{ReadOptions, Trust, load};
use crate::source::{self, read_bounded};
use crate::{ConfigError, yaml};

/// A document, or an element of a list.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Which object, when that much could be read.
    pub key: Option<ObjectKey>,
    /// Line of its first field, from 1.
    pub line: u32,
    /// Its kind, when Meltemi does not know it.
    pub unknown_kind: Option<String>,
    /// What is to be said of it, in order of lines.
    pub findings: Vec<ConfigError>,
}

/// Looks at the documents of one text. Objects that name no namespace are of `namespace`.
pub fn check_text(file: &Arc<Path>, text: &[u8], namespace: &str) -> Vec<Checked> {
    let options = ReadOptions {
        default_namespace: namespace.to_owned(),
        trust: Trust::User,
    };
    load(file, text, &options)
        .into_iter()
        .map(|definition| {
            let mut findings = definition.problems;
            findings.sort_by_key(|finding| (finding.line, finding.severity, finding.column));
            Checked {
                key: definition.key,
                line: definition.line,
                unknown_kind: definition.unknown_kind,
                findings,
            }
        })
        .collect()
}

/// The configuration files that a path names: itself, or those below it when it is a
/// directory, in order.
///
/// # Errors
/// When something at or below the path cannot be looked at, or a directory holds none.
pub fn files(path: &Path) -> Result<Vec<Arc<Path>>, Box<ConfigError>> {
    if !path.is_dir() {
        return Ok(vec![Arc::from(path)]);
    }
    let (files, problems) = source::files(path);
    if let Some(problem) = problems.into_iter().next() {
        return Err(Box::new(problem));
    }
    if files.is_empty() {
        let remedy = "name a directory that holds some";
        let message = "has no .yaml, .yml or .json file";
        let error = ConfigError::of_file(Arc::from(path), message, remedy);
        return Err(Box::new(error));
    }
    Ok(files)
}

/// Reads a file; one that is too long is read far enough to be refused.
///
/// # Errors
/// When it cannot be read.
pub fn read(file: &Arc<Path>) -> Result<Vec<u8>, Box<ConfigError>> {
    read_bounded(file, yaml::MAX_FILE_BYTES).map_err(|error| {
        Box::new(ConfigError::of_file(
            Arc::clone(file),
            format!("cannot be read: {error}"),
            "name a file that this user can read",
        ))
    })
}
