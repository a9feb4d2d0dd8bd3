//! The wire to JSON.

use super::{JsonError, known};
use crate::schema::{Field, Kind, Label, MessageType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::encoding::decode_varint;
use serde_json::{Map, Value};

/// A field's content as it stands on the wire.
#[derive(Clone, Copy)]
pub enum Raw<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
}

fn truncated() -> JsonError {
    JsonError::new("the bytes end too early")
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], JsonError> {
    if bytes.len() < length {
        return Err(truncated());
    }
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, JsonError> {
    decode_varint(bytes).map_err(|error| JsonError::new(error.to_string()))
}

fn raw<'a>(wire_type: u64, bytes: &mut &'a [u8]) -> Result<Raw<'a>, JsonError> {
    Ok(match wire_type {
        0 => Raw::Varint(varint(bytes)?),
        1 => Raw::Fixed64(take(bytes, 8)?.try_into().map_err(|_| truncated())?),
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| truncated())?;
            Raw::Bytes(take(bytes, length)?)
        }
        5 => Raw::Fixed32(take(bytes, 4)?.try_into().map_err(|_| truncated())?),
        other => return Err(JsonError::new(format!("wire type {other} is not known"))),
    })
}

/// Every (field number, content) of an encoded message, in its order.
pub fn fields(mut bytes: &[u8]) -> Result<Vec<(u32, Raw<'_>)>, JsonError> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let number = u32::try_from(key >> 3).map_err(|_| JsonError::new("field number"))?;
        found.push((number, raw(key & 7, &mut bytes)?));
    }
    Ok(found)
}

pub fn message(of: MessageType, bytes: &[u8], depth: usize) -> Result<Value, JsonError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(JsonError::new("is nested too deeply"));
    };
    if let Some(result) = known::decode(of.name(), bytes, depth) {
        return result;
    }
    let found = fields(bytes)?;
    let mut object = Map::new();
    for field in of.fields() {
        let content: Vec<Raw<'_>> = found
            .iter()
            .filter(|(number, _)| *number == field.number())
            .map(|(_, raw)| *raw)
            .collect();
        if content.is_empty() {
            continue;
        }
        let value =
            self::field(field, &content, depth).map_err(|error| error.within(field.name()))?;
        object.insert(field.name().to_owned(), value);
    }
    Ok(Value::Object(object))
}

fn field(field: Field, content: &[Raw<'_>], depth: usize) -> Result<Value, JsonError> {
    match field.label() {
        Label::Single => last(field, content, depth),
        Label::Repeated => {
            let mut list = Vec::with_capacity(content.len());
            for raw in content {
                match raw {
                    Raw::Bytes(packed) if scalar_wire_type(field.kind()).is_some() => {
                        unpack(field, packed, &mut list, depth)?;
                    }
                    raw => list.push(single(field.kind(), *raw, depth)?),
                }
            }
            Ok(Value::Array(list))
        }
        Label::Map => {
            let mut object = Map::new();
            for raw in content {
                let (key, value) = entry(field, *raw, depth)?;
                object.insert(key, value);
            }
            // Their order on the wire is chance.
            object.sort_keys();
            Ok(Value::Object(object))
        }
    }
}

/// Of several occurrences the last counts; messages are merged.
fn last(field: Field, content: &[Raw<'_>], depth: usize) -> Result<Value, JsonError> {
    if let (Kind::Message(of), true) = (field.kind(), content.len() > 1) {
        let mut merged = Vec::new();
        for raw in content {
            if let Raw::Bytes(bytes) = raw {
                merged.extend_from_slice(bytes);
            }
        }
        return message(of, &merged, depth);
    }
    match content.last() {
        Some(raw) => single(field.kind(), *raw, depth),
        None => Ok(Value::Null),
    }
}

fn entry(field: Field, raw: Raw<'_>, depth: usize) -> Result<(String, Value), JsonError> {
    let (Kind::Message(of), Raw::Bytes(bytes)) = (field.kind(), raw) else {
        return Err(JsonError::new("is no map"));
    };
    let found = fields(bytes)?;
    let part = |number: u32| -> Result<Value, JsonError> {
        let Some(field) = of.field_number(number) else {
            return Err(JsonError::new("is no map"));
        };
        match found.iter().rev().find(|(known, _)| *known == number) {
            Some((_, raw)) => single(field.kind(), *raw, depth),
            // Defaults are left out on the wire.
            None => single(field.kind(), default(field.kind()), depth),
        }
    };
    let key = match part(1)? {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok((key, part(2)?))
}

fn default(kind: Kind) -> Raw<'static> {
    match scalar_wire_type(kind) {
        Some(0) => Raw::Varint(0),
        Some(1) => Raw::Fixed64([0; 8]),
        Some(_) => Raw::Fixed32([0; 4]),
        None => Raw::Bytes(&[]),
    }
}

/// `None` for types that are length-delimited by themselves.
fn scalar_wire_type(kind: Kind) -> Option<u64> {
    match kind {
        Kind::String | Kind::Bytes | Kind::Message(_) => None,
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Some(1),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Some(5),
        _ => Some(0),
    }
}

fn unpack(
    field: Field,
    mut packed: &[u8],
    list: &mut Vec<Value>,
    depth: usize,
) -> Result<(), JsonError> {
    let wire_type = scalar_wire_type(field.kind()).unwrap_or(2);
    while !packed.is_empty() {
        let raw = raw(wire_type, &mut packed)?;
        list.push(single(field.kind(), raw, depth)?);
    }
    Ok(())
}

pub fn single(kind: Kind, raw: Raw<'_>, depth: usize) -> Result<Value, JsonError> {
    Ok(match (kind, raw) {
        (Kind::Message(of), Raw::Bytes(bytes)) => message(of, bytes, depth)?,
        (Kind::String, Raw::Bytes(bytes)) => Value::String(
            String::from_utf8(bytes.to_vec()).map_err(|_| JsonError::new("is not UTF-8"))?,
        ),
        (Kind::Bytes, Raw::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
        (Kind::Bool, Raw::Varint(value)) => Value::Bool(value != 0),
        (Kind::Enum(of), Raw::Varint(value)) => match of.name_of(value as i32) {
            Some(name) => Value::from(name),
            None => Value::from(value as i32),
        },
        (Kind::Int32, Raw::Varint(value)) => Value::from(value as i32),
        (Kind::Uint32, Raw::Varint(value)) => Value::from(value as u32),
        (Kind::Sint32, Raw::Varint(value)) => {
            let value = value as u32;
            Value::from((value >> 1) as i32 ^ -((value & 1) as i32))
        }
        // 64 bits do not fit into every reader's numbers: the JSON form has them as text.
        (Kind::Int64, Raw::Varint(value)) => Value::String((value as i64).to_string()),
        (Kind::Uint64, Raw::Varint(value)) => Value::String(value.to_string()),
        (Kind::Sint64, Raw::Varint(value)) => {
            Value::String(((value >> 1) as i64 ^ -((value & 1) as i64)).to_string())
        }
        (Kind::Fixed32, Raw::Fixed32(bytes)) => Value::from(u32::from_le_bytes(bytes)),
        (Kind::Sfixed32, Raw::Fixed32(bytes)) => Value::from(i32::from_le_bytes(bytes)),
        (Kind::Fixed64, Raw::Fixed64(bytes)) => {
            Value::String(u64::from_le_bytes(bytes).to_string())
        }
        (Kind::Sfixed64, Raw::Fixed64(bytes)) => {
            Value::String(i64::from_le_bytes(bytes).to_string())
        }
        (Kind::Float, Raw::Fixed32(bytes)) => number(f64::from(f32::from_le_bytes(bytes))),
        (Kind::Double, Raw::Fixed64(bytes)) => number(f64::from_le_bytes(bytes)),
        _ => return Err(JsonError::new("has another wire type than its schema says")),
    })
}

/// Whole numbers without a fraction, and the three that JSON has no number for as text.
pub fn number(value: f64) -> Value {
    if value.is_nan() {
        return Value::from("NaN");
    }
    if value.is_infinite() {
        return Value::from(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return Value::from(value as i64);
    }
    Value::from(value)
}
