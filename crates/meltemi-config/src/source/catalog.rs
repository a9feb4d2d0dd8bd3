//! The files of all directories as last read, and what they say together. Reads files, but
//! knows nothing of time or watches: the same files give the same result.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use meltemi_api::{Object, ObjectKey};

use super::last_good::LastGood;
use super::scan::{Found, Stamp, look_at, walk};
use super::{Directory, Published, SourceOptions};
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
    last_good: Option<LastGood>,
    published: Arc<Published>,
    /// What could not be looked at in the last walk.
    problems: Vec<ConfigError>,
    directories_seen: BTreeSet<PathBuf>,
    missing: bool,
    version: u64,
}

/// What there is to look at.
pub(crate) enum Look<'a> {
    /// Everything.
    All,
    /// Files that were known before, and nothing but their content changed.
    Files(&'a BTreeSet<PathBuf>),
}

/// A file that somebody has open for writing is left as it was read before while its last
/// change is younger than this: it may be half-written.
const WRITING: Duration = Duration::from_secs(5);

/// What a scan found.
pub(crate) struct Scanned {
    /// What the source says now; the same `Arc` as before when nothing changed.
    pub published: Arc<Published>,
    /// Directories to watch.
    pub directories: BTreeSet<PathBuf>,
    /// Some directory does not exist yet and cannot be watched.
    pub missing: bool,
    /// Files to look at again soon: they changed at about the time they were read, or are
    /// being written.
    pub racy: BTreeSet<PathBuf>,
}

impl Catalog {
    /// Nothing read yet; the last good versions are those of the file that keeps them.
    pub(crate) fn new(directories: Vec<Directory>, options: SourceOptions) -> Self {
        let last_good = options.last_good.clone().map(LastGood::open);
        let in_force = last_good.as_ref().map(LastGood::objects);
        Self {
            in_force: in_force.cloned().unwrap_or_default(),
            last_good,
            directories,
            options,
            files: BTreeMap::new(),
            stamps: BTreeMap::new(),
            published: Arc::default(),
            problems: Vec::new(),
            directories_seen: BTreeSet::new(),
            missing: false,
            version: 0,
        }
    }

    /// Looks at the directories and reads what changed. `writing`: files that somebody has
    /// open for writing.
    pub(crate) fn scan(&mut self, look: &Look<'_>, writing: &BTreeSet<PathBuf>) -> Scanned {
        if let Look::Files(paths) = look
            && let Some(scanned) = self.scan_files(paths, writing)
        {
            return scanned;
        }
        let mut directories = BTreeSet::new();
        let mut problems = Vec::new();
        let (mut missing, mut changed) = (false, self.version == 0);
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
        let mut racy = BTreeSet::new();
        for (path, (stamp, index)) in present {
            changed |= self.read(path, stamp, index, writing, &mut racy);
        }
        if changed || problems != self.problems {
            self.problems = problems;
            self.publish();
        }
        self.directories_seen = directories;
        self.missing = missing;
        self.scanned(racy)
    }

    /// Looks at these files alone; `None` where that does not do.
    fn scan_files(
        &mut self,
        paths: &BTreeSet<PathBuf>,
        writing: &BTreeSet<PathBuf>,
    ) -> Option<Scanned> {
        let mut found = Vec::new();
        for path in paths {
            let (path, file) = self.files.get_key_value(path.as_path())?;
            found.push((path.clone(), look_at(path)?, file.directory));
        }
        let (mut changed, mut racy) = (false, BTreeSet::new());
        for (path, stamp, index) in found {
            changed |= self.read(path, stamp, index, writing, &mut racy);
        }
        if changed {
            self.publish();
        }
        Some(self.scanned(racy))
    }

    fn scanned(&self, racy: BTreeSet<PathBuf>) -> Scanned {
        Scanned {
            published: Arc::clone(&self.published),
            directories: self.directories_seen.clone(),
            missing: self.missing,
            racy,
        }
    }

    /// Reads a file if it is not as it was; whether it was read.
    fn read(
        &mut self,
        path: Arc<Path>,
        stamp: Stamp,
        index: usize,
        writing: &BTreeSet<PathBuf>,
        racy: &mut BTreeSet<PathBuf>,
    ) -> bool {
        if self.stamps.get(&path) == Some(&Some(stamp)) {
            return false;
        }
        let now = SystemTime::now();
        if writing.contains(&*path) && stamp.changed_within(WRITING, now) {
            racy.insert(path.to_path_buf());
            return false;
        }
        let file = read_file(&path, stamp.size, &self.directories[index], index);
        let is_racy = stamp.is_racy(now);
        if is_racy {
            racy.insert(path.to_path_buf());
        }
        self.stamps
            .insert(Arc::clone(&path), (!is_racy).then_some(stamp));
        self.files.insert(path, file);
        true
    }

    /// Writes down what is in force, so that it is known after a restart.
    pub(crate) fn keep(&mut self) {
        if let Some(last_good) = &mut self.last_good
            && let Err(error) = last_good.keep(&self.in_force)
        {
            tracing::warn!(%error, "cannot keep the last good objects; tried again with the next change");
        }
    }

    fn publish(&mut self) {
        let mut problems = self.problems.clone();
        let mut assembled = assemble(&self.files, &self.in_force);
        problems.append(&mut assembled.problems);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            problems.into_iter().partition(ConfigError::is_error);
        for (key, object) in &mut assembled.objects {
            if let Some(before) = self.in_force.get(key)
                && !Arc::ptr_eq(before, object)
                && before == object
            {
                *object = Arc::clone(before);
            }
        }
        let objects = Objects::new(self.version, assembled.objects.values().cloned());
        let same_content = self.version > 0 && objects.same_content(&self.published.objects);
        // What is equal is the same pointer by now.
        let same_places = self.in_force.len() == assembled.objects.len()
            && std::iter::zip(self.in_force.values(), assembled.objects.values())
                .all(|(before, now)| Arc::ptr_eq(before, now));
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
        self.in_force = assembled.objects;
        self.published = Arc::new(Published {
            objects: objects.at_version(self.version),
            errors,
            warnings,
            held,
        });
    }
}

pub(super) fn read_file(
    path: &Arc<Path>,
    size: u64,
    directory: &Directory,
    index: usize,
) -> LoadedFile {
    let trust = directory.read.trust;
    match read_bounded(path, size) {
        Ok(bytes) => {
            let definitions = load(path, &bytes, &directory.read);
            LoadedFile {
                directory: index,
                trust,
                definitions,
                unreadable: None,
            }
        }
        Err(error) => LoadedFile {
            directory: index,
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
