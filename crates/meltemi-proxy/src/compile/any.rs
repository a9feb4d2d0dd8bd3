//! Typed configurations in `Any` fields, plain or wrapped in a `TypedStruct`.

use super::pb::wkt;
use super::{Error, Result};
use prost::{Message, Name};

/// `udpa.type.v1.TypedStruct` and `xds.type.v3.TypedStruct`: the same fields.
#[derive(Clone, PartialEq, Message)]
struct TypedStruct {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(message, optional, tag = "2")]
    value: Option<wkt::Struct>,
}

/// What an `Any` holds.
#[derive(Clone)]
pub enum Typed {
    /// Type name and encoded message.
    Message(String, Vec<u8>),
    /// Type name and the fields as JSON.
    Struct(String, serde_json::Value),
}

impl Typed {
    /// The message's full name, without the `type.googleapis.com/` before it.
    pub fn type_name(&self) -> &str {
        match self {
            Typed::Message(name, _) | Typed::Struct(name, _) => name,
        }
    }

    /// Decodes a message of exactly this type.
    ///
    /// # Errors
    /// When the type is another one, or is wrapped in a `TypedStruct` (which Envoy too
    /// accepts for few types only), or the bytes are malformed.
    pub fn decode<M: Message + Default + Name>(self) -> Result<M> {
        match self {
            Typed::Message(name, value) if name == M::full_name() => decode(&value),
            Typed::Struct(name, value) if name == M::full_name() => {
                let bytes = meltemi_schema::encode(&name, &value)
                    .map_err(|error| Error::new(format!("TypedStruct of {name}: {error}")))?;
                decode(&bytes)
            }
            other => Err(Error::new(format!(
                "holds {}, expected {}",
                other.type_name(),
                M::full_name()
            ))),
        }
    }
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|error| Error::new(format!("malformed: {error}")))
}

/// Opens an `Any`.
///
/// # Errors
/// When it is empty or a `TypedStruct` in it is malformed.
pub fn open(any: Option<wkt::Any>) -> Result<Typed> {
    let any = any.ok_or_else(|| Error::new("a typed configuration is required"))?;
    let name = type_name(&any.type_url);
    if matches!(name, "udpa.type.v1.TypedStruct" | "xds.type.v3.TypedStruct") {
        let inner: TypedStruct = decode(&any.value)?;
        let name = type_name(&inner.type_url).to_owned();
        return Ok(Typed::Struct(
            name,
            struct_json(inner.value.unwrap_or_default()),
        ));
    }
    Ok(Typed::Message(name.to_owned(), any.value))
}

fn type_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// A protobuf `Struct` as JSON, keys in their order.
pub fn struct_json(value: wkt::Struct) -> serde_json::Value {
    let mut fields: Vec<_> = value.fields.into_iter().collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    serde_json::Value::Object(
        fields
            .into_iter()
            .map(|(key, value)| (key, value_json(value)))
            .collect(),
    )
}

fn value_json(value: wkt::Value) -> serde_json::Value {
    use serde_json::Value;
    use wkt::value::Kind;
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < 1e15 => {
            Value::from(number as i64)
        }
        Some(Kind::NumberValue(number)) => Value::from(number),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::StructValue(fields)) => struct_json(fields),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(value_json).collect(),
    }
}
