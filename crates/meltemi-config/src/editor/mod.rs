//! Edits to a directory: apply, delete, diff. Everything is validated before anything is
//! written; a file's other documents and their comments stay as they are, byte for byte.

mod text;

pub use text::to_yaml;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use meltemi_api::{FieldPath, Object, ObjectKey, Severity};
use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;

use text::{document_text, without};

use crate::ConfigError;
use crate::file::write_atomically;
use crate::load::{Definition, load};
use crate::source::{Directory, Found, SourceOptions, is_configuration, read_bounded, walk};

/// Mode of new files: readable as the user's other files are, Secrets for the owner only.
const MODE: u32 = 0o644;
const SECRET_MODE: u32 = 0o600;

/// Edits one directory. Edits of one editor happen one after the other.
#[derive(Debug)]
pub struct Editor {
    directory: Directory,
    exclude: Vec<String>,
    lock: Mutex<()>,
}

/// What an edit did to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// New.
    Created,
    /// Replaced.
    Configured,
    /// Already so.
    Unchanged,
    /// Removed.
    Deleted,
}

/// What an edit did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Which object.
    pub key: ObjectKey,
    /// What happened to it.
    pub action: Action,
    /// In which file.
    pub file: PathBuf,
}

/// What applying did, and what is worth knowing about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// One an object, in the order of the text.
    pub outcomes: Vec<Outcome>,
    /// Findings that refuse nothing; documents of unknown kinds are among them and are not
    /// written.
    pub warnings: Vec<ConfigError>,
}

/// What applying would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// A unified diff by object; empty when nothing changes.
    pub diff: String,
    /// As [`Applied::warnings`].
    pub warnings: Vec<ConfigError>,
}

/// An object of the text that is applied.
struct Wanted {
    key: ObjectKey,
    object: Arc<Object>,
    text: String,
    line: u32,
}

/// A file of the directory.
struct Present {
    text: Vec<u8>,
    definitions: Vec<Definition>,
}

impl Editor {
    /// An editor of `directory`.
    pub fn new(directory: Directory) -> Self {
        Self {
            directory,
            exclude: SourceOptions::default().exclude,
            lock: Mutex::new(()),
        }
    }

    /// Creates or replaces the objects of `text`.
    ///
    /// # Errors
    /// Everything that is wrong with the text, or what could not be written. When the text is
    /// wrong nothing is written.
    pub fn apply(&self, text: &str) -> Result<Applied, Vec<ConfigError>> {
        let _one_at_a_time = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (wanted, warnings) = self.wanted(text)?;
        let mut files = self.files()?;
        let mut outcomes = Vec::new();
        let mut errors = Vec::new();
        for wanted in &wanted {
            match place(&files, &wanted.key) {
                Some((path, definition)) if definition.shared => {
                    errors.push(shared(&wanted.key, path, definition, wanted.line));
                }
                Some((path, definition)) => {
                    let same = definition.object.as_ref().is_some_and(|object| {
                        object.meta.resource_version == wanted.object.meta.resource_version
                    });
                    let action = if same {
                        Action::Unchanged
                    } else {
                        Action::Configured
                    };
                    let (path, range) = (Arc::clone(path), definition.range.clone());
                    outcomes.push(Outcome {
                        key: wanted.key.clone(),
                        action,
                        file: path.to_path_buf(),
                    });
                    if !same {
                        self.replace(&mut files, &path, range, wanted);
                    }
                }
                None => {
                    let path = self.new_file(&files, &wanted.key);
                    let text = wanted.text.clone().into_bytes();
                    let definitions = load(&path, &text, &self.directory.read);
                    files.insert(Arc::clone(&path), Present { text, definitions });
                    outcomes.push(Outcome {
                        key: wanted.key.clone(),
                        action: Action::Created,
                        file: path.to_path_buf(),
                    });
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let changed = outcomes.iter().filter(|o| o.action != Action::Unchanged);
        self.write(&files, changed.map(|o| o.file.as_path()).collect())?;
        Ok(Applied { outcomes, warnings })
    }

    /// Removes an object; a file that holds nothing else is removed with it.
    ///
    /// # Errors
    /// When there is no such object, it shares its document with others, or the file cannot
    /// be written.
    pub fn delete(&self, key: &ObjectKey) -> Result<Outcome, Vec<ConfigError>> {
        let _one_at_a_time = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let files = self.files()?;
        let Some((path, definition)) = place(&files, key) else {
            return Err(vec![unplaced(
                Some(key),
                0,
                "there is no such object".into(),
                "list what there is with: meltemi get",
            )]);
        };
        if definition.shared {
            return Err(vec![shared(key, path, definition, 0)]);
        }
        let text = String::from_utf8_lossy(&files[path].text);
        let rest = without(&text, definition.range.clone());
        let outcome = Outcome {
            key: key.clone(),
            action: Action::Deleted,
            file: path.to_path_buf(),
        };
        let written = if crate::yaml::parse(rest.as_bytes()).is_empty() {
            std::fs::remove_file(path)
        } else {
            write_atomically(path, rest.as_bytes(), mode_of(path, key))
        };
        written
            .map(|()| outcome)
            .map_err(|error| vec![unwritable(path, &error)])
    }

    /// What applying `text` would change.
    ///
    /// # Errors
    /// As [`Editor::apply`].
    pub fn diff(&self, text: &str) -> Result<Difference, Vec<ConfigError>> {
        let (wanted, warnings) = self.wanted(text)?;
        let files = self.files()?;
        let mut out = String::new();
        for wanted in wanted {
            let old = place(&files, &wanted.key)
                .and_then(|(_, definition)| definition.object.as_ref())
                .map(|object| to_yaml(&object.to_value()))
                .unwrap_or_default();
            let new = to_yaml(&wanted.object.to_value());
            if old != new {
                let name = wanted.key.to_string();
                let diff = TextDiff::from_lines(&old, &new);
                out.push_str(&diff.unified_diff().header(&name, &name).to_string());
            }
        }
        Ok(Difference {
            diff: out,
            warnings,
        })
    }

    fn wanted(&self, text: &str) -> Result<(Vec<Wanted>, Vec<ConfigError>), Vec<ConfigError>> {
        let nowhere: Arc<Path> = Arc::from(Path::new(""));
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut problems = Vec::new();
        for definition in load(&nowhere, text.as_bytes(), &self.directory.read) {
            problems.extend(definition.problems);
            let (Some(key), Some(object)) = (definition.key, definition.object) else {
                continue;
            };
            if let Some(first) = wanted.iter().find(|w| w.key == key) {
                let message = format!("is here for a second time, first in line {}", first.line);
                problems.push(unplaced(
                    Some(&key),
                    definition.line,
                    message,
                    "keep one of them",
                ));
                continue;
            }
            // MeshConfig read from a ConfigMap is written with the ConfigMap.
            if definition.shared && !is_list_item(text, &definition.range) {
                continue;
            }
            let text = if definition.shared {
                to_yaml(&object.to_value())
            } else {
                document_text(&text[definition.range])
            };
            wanted.push(Wanted {
                key,
                object,
                text,
                line: definition.line,
            });
        }
        for problem in &mut problems {
            problem.file = None;
        }
        let (errors, warnings): (Vec<_>, Vec<_>) =
            problems.into_iter().partition(ConfigError::is_error);
        if errors.is_empty() {
            Ok((wanted, warnings))
        } else {
            Err(errors)
        }
    }

    fn files(&self) -> Result<BTreeMap<Arc<Path>, Present>, Vec<ConfigError>> {
        let mut found = Found::default();
        walk(&self.directory.path, &self.exclude, &mut found);
        let mut files = BTreeMap::new();
        for (path, stamp) in found.files {
            let text = read_bounded(&path, stamp.size).map_err(|error| {
                vec![ConfigError::of_file(
                    Arc::clone(&path),
                    format!("cannot be read: {error}"),
                    "make it readable: the object could be in it",
                )]
            })?;
            let definitions = load(&path, &text, &self.directory.read);
            files.insert(path, Present { text, definitions });
        }
        Ok(files)
    }

    fn replace(
        &self,
        files: &mut BTreeMap<Arc<Path>, Present>,
        path: &Arc<Path>,
        range: Range<usize>,
        wanted: &Wanted,
    ) {
        let Some(present) = files.get_mut(path) else {
            return;
        };
        let old = present.text.get(range.clone()).unwrap_or_default();
        let mut new = if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("json"))
        {
            format!("{:#}\n", wanted.object.to_value())
        } else {
            wanted.text.clone()
        };
        // Text may stand on the marker's line, which is then a part of the document.
        if old.starts_with(b"---") && !new.starts_with("---") {
            new.insert_str(0, "---\n");
        }
        present.text.splice(range, new.into_bytes());
        present.definitions = load(path, &present.text, &self.directory.read);
    }

    fn new_file(&self, files: &BTreeMap<Arc<Path>, Present>, key: &ObjectKey) -> Arc<Path> {
        let parts = [key.kind.as_str(), &key.namespace, &key.name];
        let stem: Vec<String> = parts
            .iter()
            .filter(|part| !part.is_empty())
            .map(|part| part.to_lowercase().replace(['/', '\\'], "-"))
            .collect();
        let stem = stem.join("-");
        (0..)
            .map(|n: u32| {
                if n == 0 {
                    format!("{stem}.yaml")
                } else {
                    format!("{stem}-{n}.yaml")
                }
            })
            .map(|name| self.directory.path.join(name))
            .find(|path| !files.contains_key(path.as_path()) && !path.exists())
            .map(Arc::from)
            .expect("a directory holds fewer than 2^32 files")
    }

    fn write(
        &self,
        files: &BTreeMap<Arc<Path>, Present>,
        mut changed: Vec<&Path>,
    ) -> Result<(), Vec<ConfigError>> {
        changed.sort_unstable();
        changed.dedup();
        let mut errors = Vec::new();
        for path in changed {
            let Some((path, present)) = files.get_key_value(path) else {
                continue;
            };
            let secret = present
                .definitions
                .iter()
                .filter_map(|d| d.key.as_ref())
                .find(|key| key.kind == meltemi_api::Kind::Secret);
            let mode = match secret {
                Some(key) => mode_of(path, key),
                None => existing_mode(path).unwrap_or(MODE),
            };
            if let Err(error) = write_atomically(path, &present.text, mode) {
                errors.push(unwritable(path, &error));
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

fn existing_mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path)
        .ok()
        .map(|meta| meta.permissions().mode() & 0o777)
}

fn mode_of(path: &Path, key: &ObjectKey) -> u32 {
    let new = if key.kind == meltemi_api::Kind::Secret {
        SECRET_MODE
    } else {
        MODE
    };
    existing_mode(path).unwrap_or(new)
}

/// The definition of a key that is in force: the first by path and place.
fn place<'a>(
    files: &'a BTreeMap<Arc<Path>, Present>,
    key: &ObjectKey,
) -> Option<(&'a Arc<Path>, &'a Definition)> {
    files
        .iter()
        .filter(|(path, _)| is_configuration(path))
        .find_map(|(path, present)| {
            let definition = present
                .definitions
                .iter()
                .find(|d| d.key.as_ref() == Some(key))?;
            Some((path, definition))
        })
}

/// Whether the document is a list, whose items are written one by one.
fn is_list_item(text: &str, range: &Range<usize>) -> bool {
    crate::yaml::parse(text[range.clone()].as_bytes())
        .into_iter()
        .next()
        .and_then(Result::ok)
        .is_some_and(|d| d.root.to_value().get("kind").and_then(Value::as_str) == Some("List"))
}

fn unplaced(key: Option<&ObjectKey>, line: u32, message: String, remedy: &str) -> ConfigError {
    ConfigError {
        severity: Severity::Error,
        code: None,
        file: None,
        line,
        column: u32::from(line > 0),
        object: key.cloned(),
        field: FieldPath::root(),
        message,
        remedy: remedy.into(),
    }
}

fn shared(key: &ObjectKey, path: &Path, definition: &Definition, line: u32) -> ConfigError {
    let message = format!(
        "shares its document with other objects in {}:{}",
        path.display(),
        definition.line
    );
    unplaced(Some(key), line, message, "edit that file")
}

fn unwritable(path: &Arc<Path>, error: &std::io::Error) -> ConfigError {
    ConfigError::of_file(
        Arc::clone(path),
        format!("cannot be written: {error}"),
        "make the directory writable for this user",
    )
}
