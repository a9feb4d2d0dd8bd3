//! Files read once, for commands that work without a mesh.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::read_file;
use super::{Directory, Found, Published, SourceOptions, walk};
use crate::assemble::{LoadedFile, assemble};
use crate::load::load;
use crate::{ConfigError, Objects, ReadOptions, Trust};

/// Reads files and directories, with `inline` text beside them under a name of its own. What
/// they say of the platform (a Pod's status) is believed.
pub fn read_once(paths: &[PathBuf], inline: &[(PathBuf, String)]) -> Published {
    let read = ReadOptions {
        trust: Trust::Platform,
        ..ReadOptions::default()
    };
    let mut found = Found::default();
    let mut files: BTreeMap<Arc<Path>, LoadedFile> = BTreeMap::new();
    for path in paths {
        let directory = Directory {
            path: path.clone(),
            read: read.clone(),
        };
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                walk(path, &SourceOptions::default().exclude, &mut found);
                for (file, stamp) in std::mem::take(&mut found.files) {
                    let loaded = read_file(&file, stamp.size, &directory, 0);
                    files.insert(file, loaded);
                }
            }
            Ok(meta) => {
                let file: Arc<Path> = Arc::from(path.as_path());
                let loaded = read_file(&file, meta.len(), &directory, 0);
                files.insert(file, loaded);
            }
            Err(error) => found.problems.push(ConfigError::of_file(
                Arc::from(path.as_path()),
                format!("cannot be read: {error}"),
                "name a file or a directory that is there",
            )),
        }
    }
    for (name, text) in inline {
        let file: Arc<Path> = Arc::from(name.as_path());
        let definitions = load(&file, text.as_bytes(), &read);
        files.insert(
            file,
            LoadedFile {
                directory: 0,
                trust: read.trust,
                definitions,
                unreadable: None,
            },
        );
    }
    let assembled = assemble(&files, &BTreeMap::new());
    let mut problems = found.problems;
    problems.extend(assembled.problems);
    let (errors, warnings) = problems.into_iter().partition(ConfigError::is_error);
    Published {
        objects: Objects::new(1, assembled.objects.into_values()),
        errors,
        warnings,
        held: Vec::new(),
    }
}
