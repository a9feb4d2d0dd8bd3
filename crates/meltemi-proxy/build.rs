//! Prepares the schema that bootstrap files and `/config_dump` are read and written by.
//!
//! Of the descriptors of the `envoy-types` package it keeps the files reachable from what a
//! bootstrap may hold, adds the few messages that only Istio's proxy knows, and writes it all as a compact
//! table that is used in place: nothing of it is parsed or copied at run time. The layout is
//! described in `src/bootstrap/schema.rs`.

#[path = "../../build/envoy_types.rs"]
mod envoy_types;
#[path = "build/istio.rs"]
mod istio;
#[path = "build/table.rs"]
mod table;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// Files with the messages that stand in `Any` fields of the configuration we compile, and
/// those that `/config_dump` answers with.
const ROOTS: &[&str] = &[
    "envoy/admin/v3/",
    "envoy/config/bootstrap/v3/",
    "envoy/config/cluster/v3/",
    "envoy/config/listener/v3/",
    "envoy/config/route/v3/",
    "envoy/config/endpoint/v3/",
    "envoy/config/trace/v3/",
    "envoy/config/rbac/v3/",
    "envoy/extensions/access_loggers/",
    "envoy/extensions/bootstrap/",
    "envoy/extensions/clusters/",
    "envoy/extensions/common/",
    "envoy/extensions/compression/",
    "envoy/extensions/filters/",
    "envoy/extensions/formatter/",
    "envoy/extensions/http/",
    "envoy/extensions/load_balancing_policies/",
    "envoy/extensions/network/",
    "envoy/extensions/path/",
    "envoy/extensions/request_id/",
    "envoy/extensions/resource_monitors/",
    "envoy/extensions/retry/",
    "envoy/extensions/stat_sinks/",
    "envoy/extensions/transport_sockets/",
    "envoy/extensions/upstreams/",
    "envoy/service/discovery/v3/",
    "envoy/type/",
    "xds/",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let set = FileDescriptorSet::decode(&*envoy_types::descriptors())
        .expect("envoy-types holds a descriptor set");
    let mut set = reachable(set);
    set.file.extend(istio::files());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    std::fs::write(out.join("schema.bin"), table::write(&set))
        .expect("the output directory is writable");
}

/// The files under [`ROOTS`] and everything they import, imports first.
fn reachable(set: FileDescriptorSet) -> FileDescriptorSet {
    let files: HashMap<String, FileDescriptorProto> = set
        .file
        .into_iter()
        .map(|file| (file.name().to_owned(), file))
        .collect();
    let mut names: Vec<&String> = files
        .keys()
        .filter(|name| ROOTS.iter().any(|root| name.starts_with(root)))
        .collect();
    names.sort();
    let mut seen = HashSet::new();
    let mut ordered = Vec::new();
    for name in names {
        visit(name, &files, &mut seen, &mut ordered);
    }
    FileDescriptorSet { file: ordered }
}

fn visit(
    name: &str,
    files: &HashMap<String, FileDescriptorProto>,
    seen: &mut HashSet<String>,
    ordered: &mut Vec<FileDescriptorProto>,
) {
    if annotation_only(name) || !seen.insert(name.to_owned()) {
        return;
    }
    let file = files
        .get(name)
        .unwrap_or_else(|| panic!("{name} is missing in the descriptor set"));
    for import in &file.dependency {
        visit(import, files, seen, ordered);
    }
    ordered.push(file.clone());
}

/// Files that only define options, which are left out.
fn annotation_only(name: &str) -> bool {
    name.starts_with("validate/")
        || name.starts_with("udpa/annotations/")
        || name.starts_with("xds/annotations/")
        || name.starts_with("envoy/annotations/")
        || name == "google/protobuf/descriptor.proto"
        || name == "google/api/annotations.proto"
        || name == "google/api/http.proto"
}
