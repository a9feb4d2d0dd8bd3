//! For build scripts: the descriptor set of the protos in the `envoy-types` package, which the
//! package carries in its sources but does not export.

use std::path::PathBuf;
use std::process::Command;

/// The set, as bytes; the script runs again when it changes.
pub fn descriptors() -> Vec<u8> {
    let source = directory().join("src/generated/types.bin");
    println!("cargo::rerun-if-changed={}", source.display());
    std::fs::read(&source)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", source.display()))
}

/// Where cargo has put the package's sources.
fn directory() -> PathBuf {
    let cargo = std::env::var_os("CARGO").expect("cargo sets CARGO");
    let metadata = |more: &[&str]| {
        Command::new(&cargo)
            .args(["metadata", "--format-version=1", "--locked"])
            .args(more)
            .output()
            .expect("cargo can be started")
    };
    let mut output = metadata(&["--offline"]);
    if !output.status.success() {
        // Packages of other platforms are listed too, and may have to be downloaded.
        output = metadata(&[]);
    }
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "envoy-types")
        .and_then(|package| package["manifest_path"].as_str())
        .and_then(|path| PathBuf::from(path).parent().map(PathBuf::from))
        .expect("envoy-types is a dependency")
}
