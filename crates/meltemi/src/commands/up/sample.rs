//! The built-in bookinfo sample, laid down where the user can edit it.

use anyhow::Context;
use std::path::{Path, PathBuf};

/// The sample's directory; files that are there already stay as they are.
pub fn lay_down() -> anyhow::Result<PathBuf> {
    let dir = state_home()?.join("meltemi").join("bookinfo");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    if holds_configuration(&dir) {
        return Ok(dir);
    }
    for (name, text) in meltemi_samples::bookinfo_files() {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(dir)
}

fn holds_configuration(dir: &Path) -> bool {
    dir.join("meltemi.yaml").exists()
}

/// `$XDG_STATE_HOME`, else `~/.local/state` (XDG base directory specification).
fn state_home() -> anyhow::Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .context("neither XDG_STATE_HOME nor HOME is set; name a directory: `meltemi up DIR`")
}
