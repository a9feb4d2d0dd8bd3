//! Programs that suites need and may have to install.

use std::path::{Path, PathBuf};

/// Where a suite puts what it installs: `target/tools/NAME`.
pub fn home(name: &str) -> PathBuf {
    target().join("tools").join(name)
}

/// target/tmp is cargo's, for tests; tools live beside it.
pub fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("target/tmp has a parent")
}

pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}
