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
