//! JSON of protobuf messages, for people: golden files and the status API.

use meltemi_schema::JsonError;
use prost::{Message, Name};
use serde_json::Value;

/// A message as JSON with proto field names and sorted keys, its `Any`s opened.
///
/// # Errors
/// When the schema of the message is missing.
pub fn to_json<M: Message + Name>(message: &M) -> Result<Value, JsonError> {
    encoded_to_json(&M::full_name(), &super::canonical::encode(message))
}

/// The same, of an encoded message of the named type (`envoy.config.cluster.v3.Cluster`).
///
/// # Errors
/// As [`to_json`], and when the bytes are not such a message.
pub fn encoded_to_json(name: &str, bytes: &[u8]) -> Result<Value, JsonError> {
    meltemi_schema::decode(name, bytes).map(sorted)
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
