//! Messages of Istio that envoy-types does not carry: small, declared by hand with the field
//! numbers of Istio's own protos.

use std::collections::BTreeMap;

use prost::{Message, Name};

use super::Any;

/// `udpa.type.v1.TypedStruct`: a configuration whose schema only the receiver knows.
#[derive(Clone, PartialEq, Message)]
pub struct TypedStruct {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<Struct>,
}

/// `google.protobuf.Struct` with ordered fields.
#[derive(Clone, PartialEq, Message)]
pub struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

#[derive(Clone, PartialEq, Message)]
pub struct List {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

impl Name for TypedStruct {
    const NAME: &'static str = "TypedStruct";
    const PACKAGE: &'static str = "udpa.type.v1";

    fn type_url() -> String {
        "type.googleapis.com/udpa.type.v1.TypedStruct".to_owned()
    }
}

/// A JSON object as a `TypedStruct` inside an `Any`.
pub fn typed_struct(type_url: &str, value: &serde_json::Value) -> Any {
    let value = match to_value(value).kind {
        Some(Kind::Struct(fields)) => fields,
        _ => Struct::default(),
    };
    super::any(&TypedStruct {
        type_url: type_url.to_owned(),
        value: Some(value),
    })
}

fn to_value(json: &serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::Null(0),
        serde_json::Value::Bool(value) => Kind::Bool(*value),
        serde_json::Value::Number(value) => Kind::Number(value.as_f64().unwrap_or_default()),
        serde_json::Value::String(value) => Kind::String(value.clone()),
        serde_json::Value::Array(values) => Kind::List(List {
            values: values.iter().map(to_value).collect(),
        }),
        serde_json::Value::Object(fields) => Kind::Struct(Struct {
            fields: fields
                .iter()
                .map(|(name, value)| (name.clone(), to_value(value)))
                .collect(),
        }),
    };
    Value { kind: Some(kind) }
}

/// `istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig`: which ALPN the router offers
/// upstream, by the protocol that the cluster speaks.
#[derive(Clone, PartialEq, Message)]
pub struct AlpnFilterConfig {
    #[prost(message, repeated, tag = "1")]
    pub alpn_override: Vec<AlpnOverride>,
}

/// `upstream_protocol`: 0 HTTP/1.0, 1 HTTP/1.1, 2 HTTP/2.
#[derive(Clone, PartialEq, Message)]
pub struct AlpnOverride {
    #[prost(int32, tag = "1")]
    pub upstream_protocol: i32,
    #[prost(string, repeated, tag = "2")]
    pub alpn_override: Vec<String>,
}

impl Name for AlpnFilterConfig {
    const NAME: &'static str = "FilterConfig";
    const PACKAGE: &'static str = "istio.envoy.config.filter.http.alpn.v2alpha1";

    fn type_url() -> String {
        "type.googleapis.com/istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig".to_owned()
    }
}

/// The schemas of the messages above and of the name table, for JSON.
pub fn schemas() -> prost_types::FileDescriptorSet {
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{
        DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
        FileDescriptorProto, FileDescriptorSet, MessageOptions,
    };
    let field = |name: &str, number: i32, kind: Type, type_name: &str, repeated: bool| {
        FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            label: Some(if repeated {
                Label::Repeated
            } else {
                Label::Optional
            } as i32),
            r#type: Some(kind as i32),
            type_name: (!type_name.is_empty()).then(|| type_name.to_owned()),
            ..Default::default()
        }
    };
    let message = |name: &str, fields: Vec<FieldDescriptorProto>, nested: Vec<DescriptorProto>| {
        DescriptorProto {
            name: Some(name.to_owned()),
            field: fields,
            nested_type: nested,
            ..Default::default()
        }
    };
    let file = |name: &str, package: &str, messages: Vec<DescriptorProto>| FileDescriptorProto {
        name: Some(name.to_owned()),
        package: Some(package.to_owned()),
        dependency: vec!["google/protobuf/struct.proto".to_owned()],
        syntax: Some("proto3".to_owned()),
        message_type: messages,
        ..Default::default()
    };
    let text = Type::String;
    let typed_struct = message(
        "TypedStruct",
        vec![
            field("type_url", 1, text, "", false),
            field("value", 2, Type::Message, ".google.protobuf.Struct", false),
        ],
        Vec::new(),
    );
    let alpn_package = AlpnFilterConfig::PACKAGE;
    let protocols = ["HTTP10", "HTTP11", "HTTP2"]
        .iter()
        .zip(0..)
        .map(|(name, number)| EnumValueDescriptorProto {
            name: Some((*name).to_owned()),
            number: Some(number),
            ..Default::default()
        })
        .collect();
    let mut alpn = message(
        "FilterConfig",
        vec![field(
            "alpn_override",
            1,
            Type::Message,
            &format!(".{alpn_package}.FilterConfig.AlpnOverride"),
            true,
        )],
        vec![message(
            "AlpnOverride",
            vec![
                field(
                    "upstream_protocol",
                    1,
                    Type::Enum,
                    &format!(".{alpn_package}.FilterConfig.Protocol"),
                    false,
                ),
                field("alpn_override", 2, text, "", true),
            ],
            Vec::new(),
        )],
    );
    alpn.enum_type.push(EnumDescriptorProto {
        name: Some("Protocol".to_owned()),
        value: protocols,
        ..Default::default()
    });
    let nds_package = meltemi_xds::nds::NameTable::PACKAGE;
    let info = message(
        "NameInfo",
        vec![
            field("ips", 1, text, "", true),
            field("registry", 2, text, "", false),
            field("shortname", 3, text, "", false),
            field("namespace", 4, text, "", false),
            field("alt_hosts", 5, text, "", true),
        ],
        Vec::new(),
    );
    let entry = DescriptorProto {
        options: Some(MessageOptions {
            map_entry: Some(true),
            ..Default::default()
        }),
        ..message(
            "TableEntry",
            vec![
                field("key", 1, text, "", false),
                field(
                    "value",
                    2,
                    Type::Message,
                    &format!(".{nds_package}.NameTable.NameInfo"),
                    false,
                ),
            ],
            Vec::new(),
        )
    };
    let table = message(
        "NameTable",
        vec![field(
            "table",
            1,
            Type::Message,
            &format!(".{nds_package}.NameTable.TableEntry"),
            true,
        )],
        vec![info, entry],
    );
    FileDescriptorSet {
        file: vec![
            file(
                "istio/typed_struct.proto",
                TypedStruct::PACKAGE,
                vec![typed_struct],
            ),
            file("istio/alpn.proto", alpn_package, vec![alpn]),
            file("istio/nds.proto", nds_package, vec![table]),
        ],
    }
}
