//! Protobuf's JSON form: to and from the wire, by the schema, without generated code.

mod decode;
mod encode;
mod known;

use super::schema::MessageType;

/// Deepest nesting that is followed in either direction.
const DEPTH: usize = 100;

/// Why a text is not the message it should be.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    #[error("{path}{}{reason}", if path.is_empty() { "" } else { ": " })]
    Field { path: String, reason: String },
    #[error("unknown message type {0}")]
    Type(String),
    #[error("malformed {0}: {1}")]
    Bytes(String, prost::DecodeError),
}

impl JsonError {
    fn new(reason: impl Into<String>) -> Self {
        Self::Field {
            path: String::new(),
            reason: reason.into(),
        }
    }

    /// The same error, below that field.
    pub(super) fn within(self, parent: &str) -> Self {
        match self {
            Self::Field { path, reason } => Self::Field {
                path: match path.chars().next() {
                    None => parent.to_owned(),
                    Some('[') => format!("{parent}{path}"),
                    Some(_) => format!("{parent}.{path}"),
                },
                reason,
            },
            other => Self::Field {
                path: parent.to_owned(),
                reason: other.to_string(),
            },
        }
    }
}

fn find(name: &str) -> Result<MessageType, JsonError> {
    MessageType::find(name).ok_or_else(|| JsonError::Type(name.to_owned()))
}

/// Encodes a message of that full name.
///
/// # Errors
/// Unknown fields (Envoy's strict default) and wrong values, with the field's path.
pub fn encode(name: &str, value: &serde_json::Value) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    encode::message(find(name)?, value, &mut out, DEPTH)?;
    Ok(out)
}

/// [`encode`] of JSON text.
///
/// # Errors
/// As [`encode`], and when the text is no JSON.
pub fn encode_text(name: &str, json: &str) -> Result<Vec<u8>, JsonError> {
    let value = serde_json::from_str(json).map_err(|error| JsonError::new(error.to_string()))?;
    encode(name, &value)
}

/// The JSON form of an encoded message, with the proto's own field names. An `Any` of an
/// unknown type is shown as its type and its bytes.
///
/// # Errors
/// When the bytes are malformed.
pub fn decode(name: &str, bytes: &[u8]) -> Result<serde_json::Value, JsonError> {
    decode::message(find(name)?, bytes, DEPTH)
}
