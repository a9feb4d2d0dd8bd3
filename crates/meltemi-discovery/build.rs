//! Takes the schemas out of the `envoy-types` package, so that they need not be copied into this
//! repository and always belong to the version in use.

#[path = "../../build/envoy_types.rs"]
mod envoy_types;

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    std::fs::write(out.join("envoy-types.bin"), envoy_types::descriptors())
        .expect("the output directory is writable");
}
