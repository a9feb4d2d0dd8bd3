//! JSON of protobuf messages, for people: golden files and the status API. The schemas are
//! loaded when first asked for.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage, SerializeOptions};
use serde_json::Value;

/// Envoy's schemas, as the `envoy-types` crate carries them.
static ENVOY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/envoy-types.bin"));

static POOL: LazyLock<Result<DescriptorPool, String>> = LazyLock::new(|| {
    let mut pool = DescriptorPool::decode(ENVOY).map_err(|error| error.to_string())?;
    let set = super::istio::schemas();
    pool.add_file_descriptor_set(set)
        .map_err(|error| error.to_string())?;
    Ok(pool)
});

/// A message as JSON with proto field names and sorted keys, its `Any`s opened.
///
/// # Errors
/// When a schema is missing: of the message, or of something packed into it.
pub fn to_json<M: Message + Name>(message: &M) -> Result<Value, String> {
    encoded_to_json(&M::full_name(), &super::canonical::encode(message))
}

/// The same, of an encoded message of the named type (`envoy.config.cluster.v3.Cluster`).
///
/// # Errors
/// As [`to_json`], and when the bytes are not such a message.
pub fn encoded_to_json(name: &str, bytes: &[u8]) -> Result<Value, String> {
    let pool = POOL.as_ref().map_err(Clone::clone)?;
    let descriptor = pool
        .get_message_by_name(name)
        .ok_or_else(|| format!("no schema for {name}"))?;
    let dynamic = DynamicMessage::decode(descriptor, bytes).map_err(|error| error.to_string())?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let value = dynamic
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| format!("{}: {error}", dynamic.descriptor().full_name()))?;
    Ok(sorted(value))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields
                .into_iter()
                .map(|(name, value)| (name, sorted(value)))
                .collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}
