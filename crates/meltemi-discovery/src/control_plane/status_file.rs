//! `status.json` in the state directory: where every object that configures the mesh stands, for
//! tools that look at files.

use super::standing::{Standing, Standings};
use super::state::State;
use meltemi_api::ObjectKey;
use meltemi_config::write_atomically;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The file is written at most this often.
const REST: Duration = Duration::from_secs(1);

/// Like what else is in the directory.
const MODE: u32 = 0o600;

#[derive(Serialize)]
struct Document {
    /// Counts the configurations that were in force.
    generation: u64,
    /// What is wrong in the files.
    errors: Vec<String>,
    objects: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    kind: &'static str,
    namespace: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(flatten)]
    standing: Standing,
    /// What of it some proxy does not get.
    issues: Vec<String>,
}

/// Keeps the file current.
pub(super) async fn follow(state: Arc<State>, path: PathBuf) {
    let mut written = String::new();
    loop {
        let (of, at) = (state.clone(), path.clone());
        // Taken: what could not be written is tried again.
        let before = std::mem::take(&mut written);
        let outcome = tokio::task::spawn_blocking(move || {
            let text = text(&of);
            if text != before {
                write_atomically(&at, text.as_bytes(), MODE)?;
            }
            Ok::<String, io::Error>(text)
        })
        .await;
        match outcome {
            Ok(Ok(text)) => written = text,
            Ok(Err(error)) => tracing::warn!("{}: {error}", path.display()),
            Err(error) => tracing::error!("a defect in Meltemi: no status is written: {error}"),
        }
        tokio::time::sleep(REST).await;
        state.changed().await;
    }
}

fn text(state: &State) -> String {
    let mut issues: BTreeMap<ObjectKey, BTreeSet<String>> = BTreeMap::new();
    for issue in state.issues() {
        let of = issues.entry(issue.object).or_default();
        of.insert(format!("{}: {}", issue.field, issue.message));
    }
    let standings = Standings::of_all(state, state.current());
    let current = standings.current();
    let entry = |object: &meltemi_api::Object| {
        let key = object.key();
        let origin = object.meta.origin.as_ref();
        Some(Entry {
            standing: standings.of(&key)?,
            kind: key.kind.as_str(),
            file: origin.map(|origin| origin.file.display().to_string()),
            line: origin.map(|origin| origin.line),
            issues: issues.remove(&key).into_iter().flatten().collect(),
            namespace: key.namespace,
            name: key.name,
        })
    };
    let document = Document {
        generation: current.world.generation,
        errors: current
            .published
            .errors
            .iter()
            .map(ToString::to_string)
            .collect(),
        objects: super::state::objects(&current.published)
            .filter_map(entry)
            .collect(),
    };
    // Texts and numbers; there is nothing that JSON cannot hold.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}
