//! Writes the schema that messages are read and written by: the descriptors of the `envoy-types`
//! package and the few messages that only Istio's proxy knows, as a compact table that is used in
//! place: nothing of it is parsed or copied at run time. The layout is described in
//! `src/schema.rs`.

#[path = "build/envoy_types.rs"]
mod envoy_types;
#[path = "build/istio.rs"]
mod istio;
#[path = "build/table.rs"]
mod table;

use prost::Message;
use prost_types::FileDescriptorSet;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let mut set = FileDescriptorSet::decode(&*envoy_types::descriptors())
        .expect("envoy-types holds a descriptor set");
    set.file.extend(istio::files());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    std::fs::write(out.join("schema.bin"), table::write(&set))
        .expect("the output directory is writable");
}
