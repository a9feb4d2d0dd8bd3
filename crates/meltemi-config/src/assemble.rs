//! Many files to one set of objects. Pure: the order in which files are read changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use meltemi_api::{FieldPath, Kind, Object, ObjectKey, Severity};

use crate::ConfigError;
use crate::load::{Definition, Trust};

/// A file as it was last read.
#[derive(Debug, Clone)]
pub(crate) struct LoadedFile {
    /// Position of the directory it is of.
    pub directory: usize,
    /// Whose word it is.
    pub trust: Trust,
    /// What is defined in it, in order.
    pub definitions: Vec<Definition>,
    /// Why it could not be read as a whole.
    pub unreadable: Option<ConfigError>,
}

impl LoadedFile {
    /// Whether something in it could not even be named, so that it may be any object.
    fn hides_objects(&self) -> bool {
        self.unreadable.is_some()
            || self.definitions.iter().any(|d| {
                d.key.is_none()
                    && d.object.is_none()
                    && d.problems.iter().any(ConfigError::is_error)
            })
    }
}

/// What the files say together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Assembled {
    /// The objects in force, last good versions included.
    pub objects: BTreeMap<ObjectKey, Arc<Object>>,
    /// Everything that is wrong, in order of file and line.
    pub problems: Vec<ConfigError>,
    /// Keys whose last good version stays in force.
    pub held: BTreeSet<ObjectKey>,
}

/// Puts the files together. The first definition of a key in order of trust, path and place
/// wins. A key whose winning definition is wrong keeps its version from `last_good`, and so do
/// the objects of a file in which something cannot be read.
pub(crate) fn assemble(
    files: &BTreeMap<Arc<Path>, LoadedFile>,
    last_good: &BTreeMap<ObjectKey, Arc<Object>>,
) -> Assembled {
    let mut out = Assembled::default();
    let mut owners: BTreeMap<&ObjectKey, (&Arc<Path>, &Definition)> = BTreeMap::new();
    let mut ordered: Vec<(&Arc<Path>, &LoadedFile)> = files.iter().collect();
    ordered.sort_by_key(|(path, file)| (file.trust, *path));
    for (path, file) in ordered {
        out.problems.extend(file.unreadable.clone());
        for definition in &file.definitions {
            out.problems.extend(definition.problems.iter().cloned());
            let Some(key) = &definition.key else { continue };
            match owners.get(key) {
                // What the platform reports of a user's Pod carries its status: it stands in
                // for the user's file, which is not wrong.
                Some((first_path, _))
                    if key.kind == Kind::Pod && files[*first_path].trust != file.trust => {}
                Some((first_path, first)) => {
                    out.problems
                        .push(duplicate(key, path, definition, first_path, first));
                }
                None => {
                    owners.insert(key, (path, definition));
                }
            }
        }
    }
    for (key, (_, definition)) in owners {
        match (&definition.object, last_good.get(key)) {
            (Some(object), _) => {
                out.objects.insert(key.clone(), Arc::clone(object));
            }
            (None, Some(good)) => {
                out.objects.insert(key.clone(), Arc::clone(good));
                out.held.insert(key.clone());
            }
            (None, None) => {}
        }
    }
    for (key, good) in last_good {
        let hidden = good
            .meta
            .origin
            .as_ref()
            .and_then(|origin| files.get(&origin.file))
            .is_some_and(LoadedFile::hides_objects);
        if hidden && !out.objects.contains_key(key) {
            out.objects.insert(key.clone(), Arc::clone(good));
            out.held.insert(key.clone());
        }
    }
    out.problems.sort_by(|a, b| {
        (&a.file, a.line, a.column, a.severity, &a.message)
            .cmp(&(&b.file, b.line, b.column, b.severity, &b.message))
    });
    out
}

fn duplicate(
    key: &ObjectKey,
    path: &Arc<Path>,
    definition: &Definition,
    first_path: &Arc<Path>,
    first: &Definition,
) -> ConfigError {
    ConfigError {
        severity: Severity::Error,
        code: None,
        file: Some(Arc::clone(path)),
        line: definition.line,
        column: 1,
        object: Some(key.clone()),
        field: FieldPath::root(),
        message: format!(
            "is defined a second time; {}:{} is in force, this one is not",
            first_path.display(),
            first.line
        ),
        remedy: "keep one of the two, or give this one another name".into(),
    }
}
