//! The files of all directories as last read, and what they say together. Reads files, but
//! knows nothing of time or watches: the same files give the same result.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use meltemi_api::{Object, ObjectKey};

use super::scan::{Found, Stamp, walk};
use super::{Directory, Published, SourceOptions, last_good};
use crate::assemble::{LoadedFile, assemble};
use crate::load::load;
use crate::yaml::MAX_FILE_BYTES;
use crate::{ConfigError, Objects};

/// The state of a source.
pub(crate) struct Catalog {
    directories: Vec<Directory>,
    options: SourceOptions,
    files: BTreeMap<Arc<Path>, LoadedFile>,
    /// None for a file that may have changed again unseen.
    stamps: BTreeMap<Arc<Path>, Option<Stamp>>,
    in_force: BTreeMap<ObjectKey, Arc<Object>>,
    published: Arc<Published>,
    /// What could not be looked at in the last scan.
    problems: Vec<ConfigError>,
    version: u64,
}

/// What a scan found.
pub(crate) struct Scanned {
    /// What the source says now; the same `Arc` as before when nothing changed.
    pub published: Arc<Published>,
    /// Directories to watch.
    pub directories: BTreeSet<PathBuf>,
    /// Some directory does not exist yet and cannot be watched.
    pub missing: bool,
    /// Some file must be read again soon: it changed at about the time it was read.
    pub racy: bool,
}

impl Catalog {
    /// Nothing read yet; the last good versions are those of the file that keeps them.
    pub(crate) fn new(directories: Vec<Directory>, options: SourceOptions) -> Self {
        let in_force = options
            .last_good
            .as_deref()
            .map(last_good::read)
            .unwrap_or_default();
        Self {
            directories,
            options,
            files: BTreeMap::new(),
            stamps: BTreeMap::new(),
            in_force,
            published: Arc::default(),
            problems: Vec::new(),
            version: 0,
        }
    }

    /// Looks at the directories and reads what changed.
    pub(crate) fn scan(&mut self) -> Scanned {
        let now = SystemTime::now();
        let mut directories = BTreeSet::new();
        let mut problems = Vec::new();
        let (mut missing, mut racy, mut changed) = (false, false, self.version == 0);
        let mut present: BTreeMap<Arc<Path>, (Stamp, usize)> = BTreeMap::new();
        for (index, directory) in self.directories.iter().enumerate() {
            let mut found = Found::default();
            walk(&directory.path, &self.options.exclude, &mut found);
            missing |= found.missing;
            directories.append(&mut found.directories);
            problems.append(&mut found.problems);
            for (path, stamp) in found.files {
                present.entry(path).or_insert((stamp, index));
            }
        }
        let before = self.files.len();
        self.files.retain(|path, _| present.contains_key(path));
        self.stamps.retain(|path, _| present.contains_key(path));
        changed |= self.files.len() != before;
        for (path, (stamp, index)) in present {
            if self.stamps.get(&path) == Some(&Some(stamp)) {
                continue;
            }
            let directory = &self.directories[index];
            let file = read_file(&path, stamp.size, directory);
            let is_racy = stamp.is_racy(now);
            racy |= is_racy;
            self.stamps
                .insert(Arc::clone(&path), (!is_racy).then_some(stamp));
            self.files.insert(path, file);
            changed = true;
        }
        if changed || problems != self.problems {
            self.problems.clone_from(&problems);
            self.publish(problems);
        }
        Scanned {
            published: Arc::clone(&self.published),
            directories,
            missing,
            racy,
        }
    }

    fn publish(&mut self, mut problems: Vec<ConfigError>) {
        let mut assembled = assemble(&self.files, &self.in_force);
        problems.append(&mut assembled.problems);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            problems.into_iter().partition(ConfigError::is_error);
        for (key, object) in &mut assembled.objects {
            if let Some(before) = self.in_force.get(key)
                && before == object
            {
                *object = Arc::clone(before);
            }
        }
        let objects = Objects::new(self.version, assembled.objects.values().cloned());
        let same_content = self.version > 0 && objects.same_content(&self.published.objects);
        let same_places = self.in_force == assembled.objects;
        let held: Vec<_> = assembled.held.into_iter().collect();
        if same_content
            && same_places
            && errors == self.published.errors
            && warnings == self.published.warnings
            && held == self.published.held
        {
            return;
        }
        if !same_content {
            self.version += 1;
        }
        if !(same_content && same_places)
            && let Some(path) = &self.options.last_good
            && let Err(error) = last_good::write(path, &assembled.objects)
        {
            tracing::warn!(path = %path.display(), %error, "cannot keep the last good objects");
        }
        let objects = Objects::new(self.version, assembled.objects.values().cloned());
        self.in_force = assembled.objects;
        self.published = Arc::new(Published {
            objects,
            errors,
            warnings,
            held,
        });
    }
}

pub(super) fn read_file(path: &Arc<Path>, size: u64, directory: &Directory) -> LoadedFile {
    let trust = directory.read.trust;
    match read_bounded(path, size) {
        Ok(bytes) => {
            let definitions = load(path, &bytes, &directory.read);
            LoadedFile {
                trust,
                definitions,
                unreadable: None,
            }
        }
        Err(error) => LoadedFile {
            trust,
            definitions: Vec::new(),
            unreadable: Some(ConfigError::of_file(
                Arc::clone(path),
                format!("cannot be read: {error}"),
                "make it readable for this user; its objects stay as they were",
            )),
        },
    }
}

/// Reads a file up to one byte more than is allowed; the parser refuses what is longer.
pub(crate) fn read_bounded(path: &Path, size: u64) -> io::Result<Vec<u8>> {
    let capacity = usize::try_from(size.min(MAX_FILE_BYTES)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(capacity);
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
