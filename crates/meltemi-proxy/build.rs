//! Prepares the schema that bootstrap files and `/config_dump` are read and written by.
//!
//! The `envoy-types` package carries the descriptor set of its protos but does not export
//! it. This script finds the package, keeps the files reachable from what a bootstrap may
//! hold, adds the few messages that only Istio's proxy knows, and writes it all as a compact
//! table that is used in place: nothing of it is parsed or copied at run time. The layout is
//! described in `src/bootstrap/schema.rs`.

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MessageOptions,
};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::Command;

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
    let source = envoy_types_directory().join("src/generated/types.bin");
    println!("cargo::rerun-if-changed={}", source.display());
    let bytes = std::fs::read(&source)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", source.display()));
    let set = FileDescriptorSet::decode(&*bytes).expect("envoy-types holds a descriptor set");
    let mut set = reachable(set);
    set.file.extend(istio_files());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    std::fs::write(out.join("schema.bin"), table::write(&set))
        .expect("the output directory is writable");
}

/// Where cargo has put the package's sources.
fn envoy_types_directory() -> PathBuf {
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

/// Istio's own filter configurations (istio/proxy and istio/api), as far as they stand in
/// `Any` fields without being wrapped in a `TypedStruct`.
fn istio_files() -> Vec<FileDescriptorProto> {
    let typed_struct = |file: &str, package: &str| {
        proto_file(
            file,
            package,
            &["google/protobuf/struct.proto"],
            vec![message(
                "TypedStruct",
                vec![
                    string("type_url", 1),
                    of("value", 2, Type::Message, ".google.protobuf.Struct"),
                ],
            )],
            vec![],
        )
    };
    let mut alpn = message(
        "FilterConfig",
        vec![repeated(of(
            "alpn_override",
            1,
            Type::Message,
            ".istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.AlpnOverride",
        ))],
    );
    alpn.nested_type = vec![message(
        "AlpnOverride",
        vec![
            of(
                "upstream_protocol",
                1,
                Type::Enum,
                ".istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.Protocol",
            ),
            repeated(string("alpn_override", 2)),
        ],
    )];
    alpn.enum_type = vec![enumeration("Protocol", &["HTTP10", "HTTP11", "HTTP2"])];

    let metadata_exchange = message(
        "MetadataExchange",
        vec![
            string("protocol", 1),
            scalar("enable_discovery", 2, Type::Bool),
            repeated(string("additional_labels", 3)),
        ],
    );
    let mut peer_metadata = message(
        "Config",
        vec![
            repeated(of("downstream_discovery", 1, Type::Message, PEER_DISCOVERY)),
            repeated(of("upstream_discovery", 2, Type::Message, PEER_DISCOVERY)),
            repeated(of(
                "downstream_propagation",
                3,
                Type::Message,
                PEER_PROPAGATION,
            )),
            repeated(of(
                "upstream_propagation",
                4,
                Type::Message,
                PEER_PROPAGATION,
            )),
            scalar("shared_with_upstream", 5, Type::Bool),
            repeated(string("additional_labels", 6)),
        ],
    );
    let headers = ".io.istio.http.peer_metadata.Config.IstioHeaders";
    peer_metadata.nested_type = vec![
        message("Baggage", vec![]),
        message("WorkloadDiscovery", vec![]),
        message(
            "IstioHeaders",
            vec![scalar("skip_external_clusters", 1, Type::Bool)],
        ),
        one_of(
            "DiscoveryMethod",
            vec![
                of(
                    "baggage",
                    1,
                    Type::Message,
                    ".io.istio.http.peer_metadata.Config.Baggage",
                ),
                of(
                    "workload_discovery",
                    2,
                    Type::Message,
                    ".io.istio.http.peer_metadata.Config.WorkloadDiscovery",
                ),
                of("istio_headers", 3, Type::Message, headers),
            ],
        ),
        one_of(
            "PropagationMethod",
            vec![of("istio_headers", 1, Type::Message, headers)],
        ),
    ];
    let mut stats = message(
        "PluginConfig",
        vec![
            scalar("debug", 1, Type::Bool),
            of(
                "max_peer_cache_size",
                2,
                Type::Message,
                ".google.protobuf.Int32Value",
            ),
            string("stat_prefix", 3),
            string("field_separator", 4),
            string("value_separator", 5),
            scalar("disable_host_header_fallback", 6, Type::Bool),
            of(
                "tcp_reporting_duration",
                7,
                Type::Message,
                ".google.protobuf.Duration",
            ),
            repeated(of("metrics", 8, Type::Message, ".stats.MetricConfig")),
            repeated(of(
                "definitions",
                9,
                Type::Message,
                ".stats.MetricDefinition",
            )),
            of("reporter", 10, Type::Enum, ".stats.Reporter"),
            of(
                "rotation_interval",
                11,
                Type::Message,
                ".google.protobuf.Duration",
            ),
            of(
                "graceful_deletion_interval",
                12,
                Type::Message,
                ".google.protobuf.Duration",
            ),
        ],
    );
    stats.options = None;
    let mut metric = message(
        "MetricConfig",
        vec![
            repeated(of(
                "dimensions",
                1,
                Type::Message,
                ".stats.MetricConfig.DimensionsEntry",
            )),
            string("name", 2),
            repeated(string("tags_to_remove", 3)),
            string("match", 4),
            scalar("drop", 5, Type::Bool),
        ],
    );
    let mut entry = message(
        "DimensionsEntry",
        vec![string("key", 1), string("value", 2)],
    );
    entry.options = Some(MessageOptions {
        map_entry: Some(true),
        ..MessageOptions::default()
    });
    metric.nested_type = vec![entry];
    let definition = message(
        "MetricDefinition",
        vec![
            string("name", 1),
            string("value", 2),
            of("type", 3, Type::Enum, ".stats.MetricType"),
        ],
    );
    vec![
        typed_struct("udpa/type/v1/typed_struct.proto", "udpa.type.v1"),
        proto_file(
            "meltemi/istio_alpn.proto",
            "istio.envoy.config.filter.http.alpn.v2alpha1",
            &[],
            vec![alpn],
            vec![],
        ),
        proto_file(
            "meltemi/istio_metadata_exchange.proto",
            "envoy.tcp.metadataexchange.config",
            &[],
            vec![metadata_exchange],
            vec![],
        ),
        proto_file(
            "meltemi/istio_peer_metadata.proto",
            "io.istio.http.peer_metadata",
            &[],
            vec![peer_metadata],
            vec![],
        ),
        proto_file(
            "meltemi/istio_stats.proto",
            "stats",
            &[
                "google/protobuf/duration.proto",
                "google/protobuf/wrappers.proto",
            ],
            vec![stats, metric, definition],
            vec![
                enumeration("Reporter", &["UNSPECIFIED", "SERVER_GATEWAY"]),
                enumeration("MetricType", &["COUNTER", "GAUGE", "HISTOGRAM"]),
            ],
        ),
    ]
}

const PEER_DISCOVERY: &str = ".io.istio.http.peer_metadata.Config.DiscoveryMethod";
const PEER_PROPAGATION: &str = ".io.istio.http.peer_metadata.Config.PropagationMethod";

fn proto_file(
    name: &str,
    package: &str,
    imports: &[&str],
    messages: Vec<DescriptorProto>,
    enums: Vec<EnumDescriptorProto>,
) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(name.to_owned()),
        package: Some(package.to_owned()),
        dependency: imports.iter().map(|&name| name.to_owned()).collect(),
        message_type: messages,
        enum_type: enums,
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto {
        name: Some(name.to_owned()),
        field,
        ..DescriptorProto::default()
    }
}

/// A message whose fields are the members of one `oneof`.
fn one_of(name: &str, mut fields: Vec<FieldDescriptorProto>) -> DescriptorProto {
    for field in &mut fields {
        field.oneof_index = Some(0);
    }
    let mut message = message(name, fields);
    message.oneof_decl = vec![prost_types::OneofDescriptorProto {
        name: Some("method_specifier".to_owned()),
        options: None,
    }];
    message
}

fn enumeration(name: &str, values: &[&str]) -> EnumDescriptorProto {
    EnumDescriptorProto {
        name: Some(name.to_owned()),
        value: (0..)
            .zip(values)
            .map(|(number, &name)| EnumValueDescriptorProto {
                name: Some(name.to_owned()),
                number: Some(number),
                options: None,
            })
            .collect(),
        ..EnumDescriptorProto::default()
    }
}

fn scalar(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    }
}

fn string(name: &str, number: i32) -> FieldDescriptorProto {
    scalar(name, number, Type::String)
}

fn of(name: &str, number: i32, kind: Type, type_name: &str) -> FieldDescriptorProto {
    FieldDescriptorProto {
        type_name: Some(type_name.to_owned()),
        ..scalar(name, number, kind)
    }
}

fn repeated(field: FieldDescriptorProto) -> FieldDescriptorProto {
    FieldDescriptorProto {
        label: Some(Label::Repeated.into()),
        ..field
    }
}

/// The table's writer.
mod table {
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{
        DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    };
    use std::collections::{BTreeMap, HashMap};

    #[derive(Default)]
    struct Strings {
        bytes: Vec<u8>,
        known: HashMap<String, u32>,
    }

    impl Strings {
        /// Offset of the text, which is preceded by its length.
        fn add(&mut self, text: &str) -> u32 {
            if let Some(&offset) = self.known.get(text) {
                return offset;
            }
            let offset = self.bytes.len() as u32;
            let length = u16::try_from(text.len()).expect("names are short");
            self.bytes.extend(length.to_le_bytes());
            self.bytes.extend(text.as_bytes());
            self.known.insert(text.to_owned(), offset);
            offset
        }
    }

    type Messages<'a> = BTreeMap<String, &'a DescriptorProto>;
    type Enums<'a> = BTreeMap<String, &'a EnumDescriptorProto>;

    fn collect<'a>(
        scope: &str,
        message: &'a DescriptorProto,
        messages: &mut Messages<'a>,
        enums: &mut Enums<'a>,
    ) {
        let name = format!("{scope}.{}", message.name());
        for nested in &message.nested_type {
            collect(&name, nested, messages, enums);
        }
        for nested in &message.enum_type {
            enums.insert(format!("{name}.{}", nested.name()), nested);
        }
        messages.insert(name, message);
    }

    pub fn write(set: &FileDescriptorSet) -> Vec<u8> {
        let (mut messages, mut enums) = (Messages::new(), Enums::new());
        for file in &set.file {
            let scope = format!(".{}", file.package());
            for message in &file.message_type {
                collect(&scope, message, &mut messages, &mut enums);
            }
            for definition in &file.enum_type {
                enums.insert(format!("{scope}.{}", definition.name()), definition);
            }
        }
        let message_index: HashMap<&str, u32> = (0..)
            .zip(&messages)
            .map(|(i, (name, _))| (name.as_str(), i))
            .collect();
        let enum_index: HashMap<&str, u32> = (0..)
            .zip(&enums)
            .map(|(i, (name, _))| (name.as_str(), i))
            .collect();
        let mut strings = Strings::default();
        let (mut message_rows, mut fields) = (Vec::new(), Vec::new());
        let mut field_count = 0u32;
        for (name, message) in &messages {
            let mut own: Vec<&FieldDescriptorProto> = message.field.iter().collect();
            own.sort_by_key(|field| field.number());
            for value in [strings.add(&name[1..]), field_count, own.len() as u32] {
                message_rows.extend(value.to_le_bytes());
            }
            field_count += own.len() as u32;
            for field in own {
                let of_type = match field.r#type() {
                    Type::Message => message_index[field.type_name()],
                    Type::Enum => enum_index[field.type_name()],
                    Type::Group => panic!("{name}: groups are not supported"),
                    _ => 0,
                };
                let map = field.r#type() == Type::Message
                    && messages[field.type_name()]
                        .options
                        .as_ref()
                        .is_some_and(|options| options.map_entry());
                let label = match field.label() {
                    Label::Repeated if map => 2u8,
                    Label::Repeated => 1,
                    _ => 0,
                };
                let oneof = field.oneof_index.map_or(255, |index| {
                    u8::try_from(index).expect("few oneofs a message")
                });
                for value in [
                    strings.add(field.name()),
                    strings.add(&json_name(field)),
                    u32::try_from(field.number()).expect("positive"),
                    of_type,
                ] {
                    fields.extend(value.to_le_bytes());
                }
                let kind = u8::try_from(field.r#type() as i32).expect("small");
                fields.extend([kind, label, oneof, 0]);
            }
        }
        let (mut enum_rows, mut values) = (Vec::new(), Vec::new());
        let mut value_count = 0u32;
        for (name, definition) in &enums {
            let count = definition.value.len() as u32;
            for value in [strings.add(&name[1..]), value_count, count] {
                enum_rows.extend(value.to_le_bytes());
            }
            value_count += count;
            for value in &definition.value {
                values.extend(strings.add(value.name()).to_le_bytes());
                values.extend(value.number().to_le_bytes());
            }
        }
        let mut out = Vec::new();
        for count in [
            messages.len() as u32,
            field_count,
            enums.len() as u32,
            value_count,
        ] {
            out.extend(count.to_le_bytes());
        }
        for section in [message_rows, fields, enum_rows, values, strings.bytes] {
            out.extend(section);
        }
        out
    }

    /// protoc writes it; ours have none.
    fn json_name(field: &FieldDescriptorProto) -> String {
        if let Some(name) = &field.json_name {
            return name.clone();
        }
        let mut upper = false;
        let mut name = String::new();
        for character in field.name().chars() {
            if character == '_' {
                upper = true;
            } else if std::mem::take(&mut upper) {
                name.extend(character.to_uppercase());
            } else {
                name.push(character);
            }
        }
        name
    }
}
