//! Istio's own messages, which `envoy-types` does not have.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, MessageOptions,
};

/// Istio's own filter configurations (istio/proxy and istio/api), as far as they stand in
/// `Any` fields without being wrapped in a `TypedStruct`.
pub fn files() -> Vec<FileDescriptorProto> {
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
    let info = message(
        "NameInfo",
        vec![
            repeated(string("ips", 1)),
            string("registry", 2),
            string("shortname", 3),
            string("namespace", 4),
            repeated(string("alt_hosts", 5)),
        ],
    );
    let mut entry = message(
        "TableEntry",
        vec![
            string("key", 1),
            of("value", 2, Type::Message, &format!("{NAMES}.NameInfo")),
        ],
    );
    entry.options = Some(MessageOptions {
        map_entry: Some(true),
        ..MessageOptions::default()
    });
    let mut names = message(
        "NameTable",
        vec![repeated(of(
            "table",
            1,
            Type::Message,
            &format!("{NAMES}.TableEntry"),
        ))],
    );
    names.nested_type = vec![info, entry];
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
        proto_file(
            "meltemi/istio_names.proto",
            "istio.networking.nds.v1",
            &[],
            vec![names],
            vec![],
        ),
    ]
}

/// The names that a proxy's DNS server answers from (istio/istio `pkg/dns/proto`).
const NAMES: &str = ".istio.networking.nds.v1.NameTable";
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
