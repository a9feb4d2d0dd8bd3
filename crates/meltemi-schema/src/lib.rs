//! Envoy's messages, and those of Istio that travel with them, as protobuf's JSON form: to and
//! from the wire, by the schema, without generated code.

#![forbid(unsafe_code)]

mod decode;
mod duration;
mod encode;
mod known;
mod schema;

pub use duration::{DurationError, go_duration};

use schema::MessageType;

/// Deepest nesting that is followed in either direction.
const DEPTH: usize = 100;

/// Why a value is not the message it should be.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Something that does not fit its field.
    #[error("{}{reason}", place(path))]
    Field { path: String, reason: String },
    /// A field that its message does not have; `known` are those it has.
    #[error("{}unrecognized field name '{name}' in {message}", place(path))]
    UnknownField {
        path: String,
        name: String,
        message: &'static str,
        known: Vec<&'static str>,
    },
    #[error("{}unknown message type {name}", place(path))]
    UnknownType { path: String, name: String },
    #[error("malformed {0}: {1}")]
    Bytes(String, prost::DecodeError),
}

fn place(path: &str) -> String {
    match path {
        "" => String::new(),
        path => format!("{path}: "),
    }
}

impl JsonError {
    fn new(reason: impl Into<String>) -> Self {
        Self::Field {
            path: String::new(),
            reason: reason.into(),
        }
    }

    /// Where in the message it is, such as `filters[0].name`; empty: the message itself.
    pub fn path(&self) -> &str {
        match self {
            Self::Field { path, .. }
            | Self::UnknownField { path, .. }
            | Self::UnknownType { path, .. } => path,
            Self::Bytes(..) => "",
        }
    }

    /// The same error, below that field or element (`[0]`).
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        match &mut self {
            Self::Field { path, .. }
            | Self::UnknownField { path, .. }
            | Self::UnknownType { path, .. } => {
                *path = match path.chars().next() {
                    None => parent.to_owned(),
                    Some('[') => format!("{parent}{path}"),
                    Some(_) => format!("{parent}.{path}"),
                };
                self
            }
            Self::Bytes(..) => Self::Field {
                path: parent.to_owned(),
                reason: self.to_string(),
            },
        }
    }
}

fn find(name: &str) -> Result<MessageType, JsonError> {
    MessageType::find(name).ok_or_else(|| JsonError::UnknownType {
        path: String::new(),
        name: name.to_owned(),
    })
}

/// Encodes a message of that full name.
///
/// # Errors
/// Unknown fields (Envoy's strict default) and wrong values, with the field's path.
pub fn encode(name: &str, value: &serde_json::Value) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    encode::message(find(name)?, value, &mut out, DEPTH)?;
    out.shrink_to_fit();
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
