//! Where a field of an object was written.

use std::fs;

use meltemi_api::{FieldPath, Object};

use crate::yaml;

/// The line of a field in the file that the object comes from, or of the deepest part of its
/// path that is written; `None` where the file is not there any more, or is not YAML.
pub fn line_of(object: &Object, field: &FieldPath) -> Option<u32> {
    let origin = object.meta.origin.as_ref()?;
    let bytes = fs::read(&origin.file).ok()?;
    if bytes.len() as u64 > yaml::MAX_FILE_BYTES {
        return None;
    }
    let documents = yaml::parse(&bytes).into_iter().filter_map(Result::ok);
    // Documents of a list begin within the list's own.
    documents
        .filter(|document| document.root.at.line == origin.line)
        .map(|document| document.root.position(field).line)
        .next()
        .or(Some(origin.line))
}
