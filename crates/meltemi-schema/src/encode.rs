//! JSON to the wire.

use super::{JsonError, known};
use crate::schema::{EnumType, Field, Kind, Label, MessageType};
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::{Map, Value};

/// Appends a message's encoding.
pub fn message(
    of: MessageType,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), JsonError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(JsonError::new("is nested too deeply"));
    };
    if let Some(result) = known::encode(of.name(), value, out, depth) {
        return result;
    }
    let Value::Object(object) = value else {
        return Err(unexpected(value, "an object"));
    };
    if object.contains_key("@type") {
        return Err(JsonError::new(format!("{} takes no '@type'", of.name())));
    }
    fields(of, object, out, depth)
}

/// A message's fields, but for the `@type` that an `Any` has among them.
pub fn fields(
    of: MessageType,
    object: &Map<String, Value>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), JsonError> {
    let mut seen: Vec<Field> = Vec::new();
    for (key, value) in object {
        if key == "@type" {
            continue;
        }
        let field = of.field(key).ok_or_else(|| JsonError::UnknownField {
            path: String::new(),
            name: key.clone(),
            message: of.name(),
            known: of.fields().map(Field::name).collect(),
        })?;
        if value.is_null() && !known::takes_null(field) {
            continue;
        }
        let rival = seen.iter().find(|other| {
            **other == field || (field.oneof().is_some() && other.oneof() == field.oneof())
        });
        if let Some(rival) = rival {
            return Err(JsonError::new(format!(
                "is given besides '{}'",
                rival.name()
            )))
            .map_err(|error| error.within(key));
        }
        seen.push(field);
        self::field(field, value, out, depth).map_err(|error| error.within(key))?;
    }
    Ok(())
}

fn field(field: Field, value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonError> {
    match (field.label(), value) {
        (Label::Single, value) => single(field, value, out, depth),
        (Label::Repeated, Value::Array(values)) => {
            for (index, value) in values.iter().enumerate() {
                single(field, value, out, depth)
                    .map_err(|error| error.within(&format!("[{index}]")))?;
            }
            Ok(())
        }
        (Label::Repeated, other) => Err(unexpected(other, "a list")),
        (Label::Map, Value::Object(entries)) => {
            let Kind::Message(entry) = field.kind() else {
                return Err(JsonError::new("is no map"));
            };
            let (Some(key_field), Some(value_field)) =
                (entry.field_number(1), entry.field_number(2))
            else {
                return Err(JsonError::new("is no map"));
            };
            for (key, value) in entries {
                let mut inner = Vec::new();
                single(key_field, &Value::String(key.clone()), &mut inner, depth)
                    .and_then(|()| single(value_field, value, &mut inner, depth))
                    .map_err(|error| error.within(key))?;
                delimited(field.number(), &inner, out);
            }
            Ok(())
        }
        (Label::Map, other) => Err(unexpected(other, "an object")),
    }
}

/// A length-delimited field.
pub fn delimited(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub fn varint(number: u32, value: u64, out: &mut Vec<u8>) {
    encode_key(number, WireType::Varint, out);
    encode_varint(value, out);
}

/// One occurrence of a field, tag included.
pub fn single(
    field: Field,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), JsonError> {
    let number = field.number();
    match field.kind() {
        Kind::Message(of) => {
            let mut inner = Vec::new();
            message(of, value, &mut inner, depth)?;
            delimited(number, &inner, out);
        }
        Kind::String => delimited(number, string(value)?.as_bytes(), out),
        Kind::Bytes => delimited(number, &bytes(value)?, out),
        Kind::Bool => varint(number, u64::from(boolean(value)?), out),
        Kind::Enum(of) => varint(number, i64::from(enumeration(of, value)?) as u64, out),
        Kind::Int32 => varint(number, i64::from(int::<i32>(value)?) as u64, out),
        Kind::Int64 => varint(number, int::<i64>(value)? as u64, out),
        Kind::Uint32 => varint(number, u64::from(int::<u32>(value)?), out),
        Kind::Uint64 => varint(number, int::<u64>(value)?, out),
        Kind::Sint32 => {
            let value = int::<i32>(value)?;
            varint(
                number,
                u64::from(((value << 1) ^ (value >> 31)) as u32),
                out,
            );
        }
        Kind::Sint64 => {
            let value = int::<i64>(value)?;
            varint(number, ((value << 1) ^ (value >> 63)) as u64, out);
        }
        Kind::Fixed32 => fixed32(number, int::<u32>(value)?.to_le_bytes(), out),
        Kind::Sfixed32 => fixed32(number, int::<i32>(value)?.to_le_bytes(), out),
        Kind::Fixed64 => fixed64(number, int::<u64>(value)?.to_le_bytes(), out),
        Kind::Sfixed64 => fixed64(number, int::<i64>(value)?.to_le_bytes(), out),
        Kind::Float => fixed32(number, (float(value)? as f32).to_le_bytes(), out),
        Kind::Double => fixed64(number, float(value)?.to_le_bytes(), out),
    }
    Ok(())
}

fn fixed32(number: u32, bytes: [u8; 4], out: &mut Vec<u8>) {
    encode_key(number, WireType::ThirtyTwoBit, out);
    out.extend_from_slice(&bytes);
}

pub fn fixed64(number: u32, bytes: [u8; 8], out: &mut Vec<u8>) {
    encode_key(number, WireType::SixtyFourBit, out);
    out.extend_from_slice(&bytes);
}

pub fn unexpected(value: &Value, expected: &str) -> JsonError {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    JsonError::new(format!("is {found}, expected {expected}"))
}

pub fn string(value: &Value) -> Result<&str, JsonError> {
    value.as_str().ok_or_else(|| unexpected(value, "a text"))
}

pub fn boolean(value: &Value) -> Result<bool, JsonError> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        // Keys of maps are texts.
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        other => Err(unexpected(other, "true or false")),
    }
}

/// Either alphabet, with or without padding, as protobuf's JSON form allows.
pub fn bytes(value: &Value) -> Result<Vec<u8>, JsonError> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = string(value)?;
    let alphabet = if text.contains(['-', '_']) {
        base64::alphabet::URL_SAFE
    } else {
        base64::alphabet::STANDARD
    };
    GeneralPurpose::new(&alphabet, config)
        .decode(text)
        .map_err(|error| JsonError::new(format!("is not base64: {error}")))
}

fn enumeration(of: EnumType, value: &Value) -> Result<i32, JsonError> {
    match value {
        Value::String(name) => of
            .number_of(name)
            .ok_or_else(|| JsonError::new(format!("{name:?} is not a value of {}", of.name()))),
        Value::Null => Ok(0),
        other => int::<i32>(other),
    }
}

/// A whole number, also as text and as `1e3` or `1.0`.
pub fn int<T: TryFrom<i128>>(value: &Value) -> Result<T, JsonError> {
    let wrong = || unexpected(value, "a whole number in range");
    let whole =
        |number: f64| (number.fract() == 0.0 && number.abs() < 1e19).then_some(number as i128);
    let number = match value {
        Value::Number(number) => number.as_i128().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text
            .parse()
            .ok()
            .or_else(|| text.parse().ok().and_then(whole)),
        _ => None,
    };
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(wrong)
}

pub fn float(value: &Value) -> Result<f64, JsonError> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok().filter(|number: &f64| number.is_finite()),
        },
        _ => None,
    };
    number.ok_or_else(|| unexpected(value, "a number"))
}
