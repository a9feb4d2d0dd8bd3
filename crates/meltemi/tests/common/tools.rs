//! Programs that suites need and may have to install.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// A program on `PATH` or where the administrator's are, from Debian's `package` where it is
/// missing and may be installed.
///
/// # Errors
/// Why it is not there.
pub fn from_debian(program: &str, package: &str) -> Result<PathBuf, String> {
    let find = || {
        let own = Path::new("/usr/sbin").join(program);
        on_path(program).or_else(|| own.is_file().then_some(own))
    };
    if let Some(path) = find() {
        return Ok(path);
    }
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let apt = on_path("apt-get").filter(|_| root);
    let apt = apt.ok_or_else(|| {
        format!("{program} is not installed (Debian's package {package}; `apt-get` as root could get it)")
    })?;
    println!("{program} is not installed; getting Debian's package {package}");
    for arguments in [&["update", "-qq"][..], &["install", "-y", "-qq", package]] {
        let output = Command::new(&apt)
            .args(["-o", "DPkg::Lock::Timeout=120"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .map_err(|error| format!("{}: {error}", apt.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.trim().lines().last().unwrap_or_default().to_owned();
            return Err(format!("{package} cannot be installed: {last}"));
        }
    }
    find().ok_or_else(|| format!("{package} has no {program}"))
}
