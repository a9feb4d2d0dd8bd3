//! Which files there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::ConfigError;

/// Most files of one directory tree.
const MAX_FILES: usize = 100_000;
/// Deepest sub-directory.
const MAX_LEVELS: usize = 32;
/// File systems keep times in ticks of a few milliseconds: a file read this soon after its
/// last change may change again without another time, so it is read again.
const RACY: Duration = Duration::from_millis(100);

/// What tells a changed file from an unchanged one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    pub(crate) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether the file may have changed again without another stamp.
    pub(super) fn is_racy(&self, now: SystemTime) -> bool {
        self.changed_within(RACY, now)
    }

    /// Whether the last change is that young. One in the future is not: the clock was set back
    /// since.
    pub(super) fn changed_within(&self, age: Duration, now: SystemTime) -> bool {
        let changed = Duration::new(
            u64::try_from(self.changed.0).unwrap_or_default(),
            u32::try_from(self.changed.1).unwrap_or_default(),
        );
        now.duration_since(UNIX_EPOCH)
            .is_ok_and(|now| now.abs_diff(changed) < age)
    }
}

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Files with configuration.
    pub files: BTreeMap<Arc<Path>, Stamp>,
    /// Directories to watch: those walked, and those that hold the targets of links.
    pub directories: BTreeSet<PathBuf>,
    /// What could not be looked at.
    pub problems: Vec<ConfigError>,
    /// The root does not exist (yet).
    pub missing: bool,
}

/// The stamp of a file that is no link; `None` where only a walk can tell.
pub(crate) fn look_at(path: &Path) -> Option<Stamp> {
    let meta = fs::symlink_metadata(path).ok()?;
    meta.is_file().then(|| Stamp::of(&meta))
}

/// Walks a directory.
pub(crate) fn walk(root: &Path, exclude: &[String], found: &mut Found) {
    match fs::metadata(root) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            let problem = ConfigError::of_file(
                Arc::from(root),
                "is not a directory",
                "name the directory that holds the file",
            );
            found.problems.push(problem);
            return;
        }
        Err(_) => {
            found.missing = true;
            return;
        }
    }
    let mut seen = BTreeSet::new();
    level(root, exclude, 0, &mut seen, found);
}

fn level(
    directory: &Path,
    exclude: &[String],
    depth: usize,
    seen: &mut BTreeSet<(u64, u64)>,
    found: &mut Found,
) {
    let unreadable = |error: std::io::Error| {
        ConfigError::of_file(
            Arc::from(directory),
            format!("cannot be read: {error}"),
            "make it readable for this user",
        )
    };
    let id = match fs::metadata(directory) {
        Ok(meta) => (meta.dev(), meta.ino()),
        Err(error) => return found.problems.push(unreadable(error)),
    };
    if !seen.insert(id) {
        return;
    }
    if depth > MAX_LEVELS {
        found.problems.push(ConfigError::of_file(
            Arc::from(directory),
            format!("lies deeper than {MAX_LEVELS} levels and is not read"),
            "move it up",
        ));
        return;
    }
    found.directories.insert(directory.to_owned());
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return found.problems.push(unreadable(error)),
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with('.') || (depth == 0 && exclude.iter().any(|e| e == name)) {
            continue;
        }
        let path = entry.path();
        // Follows links; a dangling one is no file.
        let Ok(meta) = fs::metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            level(&path, exclude, depth + 1, seen, found);
        } else if meta.is_file() && is_configuration(&path) {
            if found.files.len() >= MAX_FILES {
                found.problems.push(ConfigError::of_file(
                    Arc::from(directory),
                    format!("there are more than {MAX_FILES} files; the rest is not read"),
                    "use fewer, larger files",
                ));
                return;
            }
            if entry.file_type().is_ok_and(|t| t.is_symlink())
                && let Some(parent) = fs::canonicalize(&path)
                    .ok()
                    .as_deref()
                    .and_then(Path::parent)
            {
                found.directories.insert(parent.to_owned());
            }
            found.files.insert(Arc::from(path), Stamp::of(&meta));
        }
    }
}

/// Whether a file's name says that it holds configuration.
pub(crate) fn is_configuration(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| e.eq_ignore_ascii_case(known))
    })
}
