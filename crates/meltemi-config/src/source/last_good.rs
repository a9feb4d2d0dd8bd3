//! The file that keeps the objects in force over a restart, so that a broken object does not
//! disappear with the process that knew its last good version.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use meltemi_api::{Object, ObjectKey, Origin, decode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::file::write_atomically;

/// Readable for the owner only: Secrets are among the objects.
const MODE: u32 = 0o600;

#[derive(Serialize, Deserialize)]
struct Kept {
    key: ObjectKey,
    origin: Option<Origin>,
    resource_version: u64,
    object: Value,
}

/// Reads the objects; what cannot be read is reported and left out.
pub(super) fn read(path: &Path) -> BTreeMap<ObjectKey, Arc<Object>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read the last good objects");
            return BTreeMap::new();
        }
    };
    let kept: Vec<Kept> = match serde_json::from_slice(&bytes) {
        Ok(kept) => kept,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the last good objects are damaged");
            return BTreeMap::new();
        }
    };
    kept.into_iter()
        .filter_map(|kept| match decode(&kept.object, &kept.key.namespace) {
            Ok(mut object) => {
                object.meta.origin = kept.origin;
                object.meta.resource_version = kept.resource_version;
                Some((kept.key, Arc::new(object)))
            }
            Err(error) => {
                tracing::warn!(object = %kept.key, %error, "a last good object is not readable");
                None
            }
        })
        .collect()
}

/// Writes the objects.
pub(super) fn write(path: &Path, objects: &BTreeMap<ObjectKey, Arc<Object>>) -> io::Result<()> {
    let kept: Vec<Kept> = objects
        .iter()
        .map(|(key, object)| Kept {
            key: key.clone(),
            origin: object.meta.origin.clone(),
            resource_version: object.meta.resource_version,
            object: object.to_value(),
        })
        .collect();
    write_atomically(path, &serde_json::to_vec(&kept)?, MODE)
}
