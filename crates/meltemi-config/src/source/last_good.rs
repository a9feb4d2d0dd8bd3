//! The file that keeps the objects in force over a restart, so that a broken object does not
//! disappear with the process that knew its last good version.
//!
//! A journal: a line for each object that changed, the last one counts. A change costs its own
//! objects and not all of them, and a process that is killed while it writes leaves at most one
//! line that says nothing. Damaged lines are left out; the rest holds.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use meltemi_api::{Object, ObjectKey, Origin, decode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::file::write_atomically;

/// Readable for the owner only: Secrets are among the objects.
const MODE: u32 = 0o600;
/// The file is written anew when it has this many lines more than twice the objects.
const SPARE_LINES: usize = 1000;

type Objects = BTreeMap<ObjectKey, Arc<Object>>;

#[derive(Serialize, Deserialize)]
struct Line {
    key: ObjectKey,
    origin: Option<Origin>,
    resource_version: u64,
    /// None: the object is in force no more.
    object: Option<Value>,
}

/// The file and what is in it.
#[derive(Debug)]
pub(super) struct LastGood {
    path: PathBuf,
    kept: Objects,
    lines: usize,
    /// Something in the file is not as it should be: it is written anew.
    damaged: bool,
}

impl LastGood {
    /// Opens the file and reads the objects; what cannot be read is reported and left out.
    pub(super) fn open(path: PathBuf) -> Self {
        let mut opened = Self {
            path,
            kept: Objects::new(),
            lines: 0,
            damaged: false,
        };
        match std::fs::read(&opened.path) {
            Ok(bytes) => opened.read(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = opened.path.display();
                tracing::warn!(%path, %error, "cannot read the last good objects");
                opened.damaged = true;
            }
        }
        opened
    }

    /// What is kept.
    pub(super) fn objects(&self) -> &Objects {
        &self.kept
    }

    fn read(&mut self, bytes: &[u8]) {
        for (number, line) in (1usize..).zip(bytes.split(|byte| *byte == b'\n')) {
            if line.is_empty() {
                continue;
            }
            self.lines += 1;
            if let Err(error) = self.read_line(line) {
                let path = self.path.display();
                tracing::warn!(
                    %path,
                    line = number,
                    "a last good object is not readable and is left out: {error}"
                );
                self.damaged = true;
            }
        }
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), String> {
        let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let Some(value) = &line.object else {
            self.kept.remove(&line.key);
            return Ok(());
        };
        let mut object =
            decode(value, &line.key.namespace).map_err(|error| format!("{}: {error}", line.key))?;
        object.meta.origin = line.origin;
        object.meta.resource_version = line.resource_version;
        self.kept.insert(line.key, Arc::new(object));
        Ok(())
    }

    /// Writes what is different now.
    ///
    /// # Errors
    /// When the file cannot be written, for example because the disk is full; the next call
    /// tries to write all of it.
    pub(super) fn keep(&mut self, objects: &Objects) -> io::Result<()> {
        let mut changes = Vec::new();
        let mut count = 0;
        for (key, object) in objects {
            // Objects that did not change are shared between snapshots.
            let kept = self.kept.get(key);
            if !kept.is_some_and(|kept| Arc::ptr_eq(kept, object)) {
                line(key, Some(object), &mut changes)?;
                count += 1;
            }
        }
        for key in self.kept.keys().filter(|key| !objects.contains_key(key)) {
            line(key, None, &mut changes)?;
            count += 1;
        }
        if count == 0 && !self.damaged {
            return Ok(());
        }
        let anew = self.damaged || self.lines + count > 2 * objects.len() + SPARE_LINES;
        // Unless all of it succeeds.
        self.damaged = true;
        if anew {
            let mut all = Vec::new();
            for (key, object) in objects {
                line(key, Some(object), &mut all)?;
            }
            write_atomically(&self.path, &all, MODE)?;
            self.lines = objects.len();
        } else {
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(MODE)
                .open(&self.path)?
                .write_all(&changes)?;
            self.lines += count;
        }
        self.kept.clone_from(objects);
        self.damaged = false;
        Ok(())
    }
}

fn line(key: &ObjectKey, object: Option<&Arc<Object>>, out: &mut Vec<u8>) -> io::Result<()> {
    let line = Line {
        key: key.clone(),
        origin: object.and_then(|object| object.meta.origin.clone()),
        resource_version: object.map_or(0, |object| object.meta.resource_version),
        object: object.map(|object| object.to_value()),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, value: &str) -> Arc<Object> {
        let value = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": "n", "labels": {"v": value}}});
        Arc::new(decode(&value, "n").unwrap())
    }

    fn objects(content: &[(&str, &str)]) -> Objects {
        let object = |(name, value): &(&str, &str)| object(name, value);
        content
            .iter()
            .map(object)
            .map(|object| (object.key(), object))
            .collect()
    }

    fn labels(last_good: &LastGood) -> Vec<(String, String)> {
        let kept = last_good.objects().iter();
        kept.map(|(key, object)| (key.name.clone(), object.meta.labels["v"].clone()))
            .collect()
    }

    fn pairs(content: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        content.iter().map(own).collect()
    }

    #[test]
    fn the_last_line_of_an_object_counts() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("last-good.jsonl");
        let mut last_good = LastGood::open(path.clone());
        last_good.keep(&objects(&[("a", "1"), ("b", "1")])).unwrap();
        last_good.keep(&objects(&[("a", "2")])).unwrap();
        assert_eq!(labels(&LastGood::open(path)), pairs(&[("a", "2")]));
    }

    #[test]
    fn a_line_cut_off_or_damaged_costs_that_line_alone() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("last-good.jsonl");
        let all = objects(&[("a", "1"), ("b", "1"), ("c", "1")]);
        LastGood::open(path.clone()).keep(&all).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for end in 0..=whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            let left = labels(&LastGood::open(path.clone()));
            let lines = whole[..end].iter().filter(|byte| **byte == b'\n').count();
            // A line that lacks only its end is whole.
            assert!((lines..=lines + 1).contains(&left.len()), "{end}");
        }
        let mut torn = whole.clone();
        torn[10] = 0xff;
        std::fs::write(&path, &torn).unwrap();
        let mut last_good = LastGood::open(path.clone());
        assert_eq!(labels(&last_good), pairs(&[("b", "1"), ("c", "1")]));
        last_good.keep(&all).unwrap();
        assert_eq!(LastGood::open(path).objects().len(), 3, "it is mended");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_tried_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("missing").join("last-good.jsonl");
        let mut last_good = LastGood::open(path.clone());
        let all = objects(&[("a", "1")]);
        assert!(last_good.keep(&all).is_err());
        std::fs::create_dir(dir.path().join("missing")).unwrap();
        last_good.keep(&all).unwrap();
        assert_eq!(labels(&LastGood::open(path)), pairs(&[("a", "1")]));
    }

    #[test]
    fn many_changes_do_not_grow_the_file_for_ever() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("last-good.jsonl");
        let mut last_good = LastGood::open(path.clone());
        for version in 0..3 * SPARE_LINES {
            let version = version.to_string();
            last_good
                .keep(&objects(&[("a", version.as_str())]))
                .unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() <= SPARE_LINES + 2);
    }
}
