//! Finds the schemas that the `envoy-types` crate carries in its sources, so that they need not
//! be copied into this repository and always belong to the version in use.

use std::path::PathBuf;
use std::process::Command;
use std::{env, error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let metadata = |more: &[&str]| {
        Command::new(env::var("CARGO")?)
            .args(["metadata", "--format-version=1", "--locked"])
            .args(more)
            .current_dir(env::var("CARGO_MANIFEST_DIR")?)
            .output()
            .map_err(Box::<dyn Error>::from)
    };
    let mut output = metadata(&["--offline"])?;
    if !output.status.success() {
        // Packages of other platforms are listed too, and may have to be downloaded.
        output = metadata(&[])?;
    }
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "envoy-types")
        .and_then(|package| package["manifest_path"].as_str())
        .ok_or("envoy-types is not among the dependencies")?;
    let schemas = PathBuf::from(manifest).with_file_name("src/generated/types.bin");
    let target = PathBuf::from(env::var("OUT_DIR")?).join("envoy-types.bin");
    fs::copy(&schemas, &target).map_err(|error| format!("{}: {error}", schemas.display()))?;
    Ok(())
}
