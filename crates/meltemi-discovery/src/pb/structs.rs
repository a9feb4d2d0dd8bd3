//! `google.protobuf.Struct` from plain Rust values, and the `istio` metadata built on it.

use super::{Struct, Value, core};
use envoy_types::pb::google::protobuf::ListValue;
pub use envoy_types::pb::google::protobuf::value::Kind;

pub fn string(value: impl Into<String>) -> Value {
    Value {
        kind: Some(Kind::StringValue(value.into())),
    }
}

pub fn boolean(value: bool) -> Value {
    Value {
        kind: Some(Kind::BoolValue(value)),
    }
}

pub fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value {
        kind: Some(Kind::StructValue(structure(fields))),
    }
}

pub fn list(values: Vec<Value>) -> Value {
    Value {
        kind: Some(Kind::ListValue(ListValue { values })),
    }
}

pub fn structure<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    Struct {
        fields: fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

/// Metadata with one namespace of filter metadata.
pub fn metadata(namespace: &str, fields: Struct) -> core::Metadata {
    core::Metadata {
        filter_metadata: [(namespace.to_owned(), fields)].into_iter().collect(),
        ..Default::default()
    }
}

/// The path by which Istio names the object a resource comes from.
pub fn config_path(kind: &str, namespace: &str, name: &str) -> String {
    format!("/apis/networking.istio.io/v1/namespaces/{namespace}/{kind}/{name}")
}

/// `{"istio": {"config": PATH}}`: the object that a route or a filter chain comes from.
pub fn config_metadata(kind: &str, namespace: &str, name: &str) -> core::Metadata {
    metadata(
        "istio",
        structure([("config", string(config_path(kind, namespace, name)))]),
    )
}

/// A text in the metadata.
pub fn text<'a>(metadata: &'a core::Metadata, namespace: &str, name: &str) -> Option<&'a str> {
    let fields = &metadata.filter_metadata.get(namespace)?.fields;
    match fields.get(name)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}
