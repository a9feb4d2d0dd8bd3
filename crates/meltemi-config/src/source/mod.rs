//! Directories as the source of objects: read, watched, validated, and published.
//!
//! A change becomes visible about 10 ms after the last write of a burst (500 ms at most after
//! the first); a file that is still open for writing is waited for. Only changed files are read again. What is wrong with one file or object is
//! reported and leaves the rest alone: a broken object's last good version stays in force, also
//! over a restart when a place to keep it is given.

mod catalog;
mod last_good;
mod once;
mod scan;
mod watch;

pub(crate) use catalog::read_bounded;
pub use once::read_once;
pub(crate) use scan::{Found, is_configuration, walk};
pub use watch::DirectorySource;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use meltemi_api::ObjectKey;

use crate::load::ReadOptions;
use crate::{ConfigError, Objects};

/// The files of a directory that hold objects, by path, as a [`DirectorySource`] finds them, and
/// what could not be looked at. A directory that does not exist has none.
pub fn files(root: &Path) -> (Vec<Arc<Path>>, Vec<ConfigError>) {
    let mut found = Found::default();
    walk(root, &SourceOptions::default().exclude, &mut found);
    (found.files.into_keys().collect(), found.problems)
}

/// A directory of YAML and JSON files, read with all its sub-directories except hidden ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where it is. It need not exist yet.
    pub path: PathBuf,
    /// How its documents are read.
    pub read: ReadOptions,
}

/// How a source works.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Time between looks at the directories where the kernel cannot tell of changes: no
    /// watches left, or a directory that does not exist yet.
    pub rescan: Duration,
    /// File that keeps the objects in force over a restart; none keeps them in memory only.
    pub last_good: Option<PathBuf>,
    /// Names of files in a directory's root that hold no objects.
    pub exclude: Vec<String>,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            rescan: Duration::from_secs(1),
            last_good: None,
            exclude: vec!["meltemi.yaml".into(), "meltemi.yml".into()],
        }
    }
}

/// What a source says at one moment.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The objects in force.
    pub objects: Objects,
    /// What refuses objects.
    pub errors: Vec<ConfigError>,
    /// What is worth knowing but refuses nothing.
    pub warnings: Vec<ConfigError>,
    /// Objects whose last good version is in force because what is written is wrong.
    pub held: Vec<ObjectKey>,
}
