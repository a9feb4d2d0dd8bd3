//! Protobuf's JSON form, by reflection over Envoy's descriptors.
//!
//! The descriptors take a few megabytes and some milliseconds: they are loaded while
//! somebody holds a [`Schema`] and dropped with the last one.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde::de::DeserializeSeed;
use std::sync::{Arc, Mutex, PoisonError, Weak};

static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Why a text is not the message it should be.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("{path}: {reason}")]
    Field { path: String, reason: String },
    #[error("unknown message type {0}")]
    Type(String),
    #[error("malformed {0}: {1}")]
    Bytes(String, prost::DecodeError),
}

/// Descriptors of everything a bootstrap or a configuration dump may hold.
#[derive(Clone)]
pub struct Schema(Arc<DescriptorPool>);

impl Schema {
    pub fn load() -> Self {
        static SHARED: Mutex<Weak<DescriptorPool>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = shared.upgrade() {
            return Self(pool);
        }
        let pool = Arc::new(
            DescriptorPool::decode(DESCRIPTORS).expect("the build script wrote valid descriptors"),
        );
        *shared = Arc::downgrade(&pool);
        Self(pool)
    }

    /// Encodes a message of that full name from JSON text.
    ///
    /// # Errors
    /// Unknown fields (Envoy's strict default) and wrong values, with the field's path.
    pub fn encode(&self, name: &str, json: &str) -> Result<Vec<u8>, JsonError> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        self.encode_from(name, &mut deserializer)
    }

    fn encode_from<'de, D>(&self, name: &str, deserializer: D) -> Result<Vec<u8>, JsonError>
    where
        D: serde::Deserializer<'de>,
        D::Error: std::fmt::Display,
    {
        let descriptor = self
            .0
            .get_message_by_name(name)
            .ok_or_else(|| JsonError::Type(name.to_owned()))?;
        let mut track = serde_path_to_error::Track::new();
        let deserializer = serde_path_to_error::Deserializer::new(deserializer, &mut track);
        match descriptor.deserialize(deserializer) {
            Ok(message) => Ok(message.encode_to_vec()),
            Err(error) => Err(JsonError::Field {
                path: track.path().to_string(),
                reason: error.to_string(),
            }),
        }
    }

    /// The JSON form of an encoded message, with the proto's own field names.
    ///
    /// # Errors
    /// When the bytes are malformed or hold an `Any` of an unknown type.
    pub fn decode(&self, name: &str, bytes: &[u8]) -> Result<serde_json::Value, JsonError> {
        let descriptor = self
            .0
            .get_message_by_name(name)
            .ok_or_else(|| JsonError::Type(name.to_owned()))?;
        let message = DynamicMessage::decode(descriptor, bytes)
            .map_err(|error| JsonError::Bytes(name.to_owned(), error))?;
        let options = SerializeOptions::new().use_proto_field_name(true);
        message
            .serialize_with_options(serde_json::value::Serializer, &options)
            .map_err(|error| JsonError::Field {
                path: name.to_owned(),
                reason: error.to_string(),
            })
    }
}

/// [`Schema::encode`] of a JSON value, once.
pub fn encode(name: &str, value: &serde_json::Value) -> Result<Vec<u8>, JsonError> {
    Schema::load().encode_from(name, value)
}
