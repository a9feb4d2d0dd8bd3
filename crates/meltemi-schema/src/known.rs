//! Protobuf's well-known types, whose JSON form is their own.

use super::JsonError;
use super::decode::{self, Raw};
use super::duration::go_duration;
use super::encode::{self, unexpected};
use crate::schema::{Field, Kind, MessageType};
use prost::encoding::{WireType, encode_key};
use serde_json::{Map, Value};

const ANY: &str = "google.protobuf.Any";
const VALUE: &str = "google.protobuf.Value";

/// Whether `null` is a value of the field rather than its absence.
pub fn takes_null(field: Field) -> bool {
    match field.kind() {
        Kind::Message(of) => of.name() == VALUE,
        Kind::Enum(of) => of.name() == "google.protobuf.NullValue",
        _ => false,
    }
}

fn is_wrapper(name: &str) -> bool {
    matches!(
        name.strip_prefix("google.protobuf."),
        Some(
            "BoolValue"
                | "BytesValue"
                | "DoubleValue"
                | "FloatValue"
                | "Int32Value"
                | "Int64Value"
                | "StringValue"
                | "UInt32Value"
                | "UInt64Value"
        )
    )
}

fn is_known(name: &str) -> bool {
    is_wrapper(name)
        || matches!(
            name.strip_prefix("google.protobuf."),
            Some("Any" | "Duration" | "ListValue" | "Struct" | "Timestamp" | "Value")
        )
}

/// `None` for messages without a form of their own.
pub fn encode(
    name: &str,
    value: &Value,
    out: &mut Vec<u8>,
    depth: usize,
) -> Option<Result<(), JsonError>> {
    if !name.starts_with("google.protobuf.") {
        return None;
    }
    if is_wrapper(name) {
        let field = MessageType::find(name).and_then(|of| of.field_number(1))?;
        return Some(encode::single(field, value, out, depth));
    }
    Some(match name {
        ANY => any(value, out, depth),
        "google.protobuf.Duration" => duration(value, out),
        "google.protobuf.Timestamp" => timestamp(value, out),
        "google.protobuf.Struct" => structure(value, out, depth),
        "google.protobuf.ListValue" => list(value, out, depth),
        VALUE => dynamic(value, out, depth),
        _ => return None,
    })
}

fn any(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonError> {
    let Value::Object(object) = value else {
        return Err(unexpected(value, "an object"));
    };
    if object.is_empty() {
        return Ok(());
    }
    let url = match object.get("@type") {
        Some(Value::String(url)) => url,
        _ => return Err(JsonError::new("has no @type")),
    };
    let name = url.rsplit('/').next().unwrap_or(url);
    let of = super::find(name)?;
    let mut inner = Vec::new();
    if is_known(name) {
        let value = object.get("value").unwrap_or(&Value::Null);
        encode::message(of, value, &mut inner, depth).map_err(|error| error.within("value"))?;
    } else {
        encode::fields(of, object, &mut inner, depth)?;
    }
    encode::delimited(1, url.as_bytes(), out);
    encode::delimited(2, &inner, out);
    Ok(())
}

fn seconds_and_nanos(seconds: i64, nanos: i32, out: &mut Vec<u8>) {
    if seconds != 0 {
        encode::varint(1, seconds as u64, out);
    }
    if nanos != 0 {
        encode::varint(2, i64::from(nanos) as u64, out);
    }
}

/// `1.5s`, at most nine digits after the point; else Go's form, which istiod takes in patches.
fn duration(value: &Value, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let text = encode::string(value)?;
    let parse = || {
        let number = text.strip_suffix('s')?;
        let (negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return None;
        }
        let seconds: i64 = whole.parse().ok()?;
        let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
        // Protobuf's range: about 10,000 years.
        (seconds <= 315_576_000_000).then(|| {
            if negative {
                (-seconds, -nanos)
            } else {
                (seconds, nanos)
            }
        })
    };
    let (seconds, nanos) = parse()
        .or_else(|| {
            // Go's range.
            let nanos = i64::try_from(go_duration(text).ok()?).ok()?;
            Some((nanos / 1_000_000_000, (nanos % 1_000_000_000) as i32))
        })
        .ok_or_else(|| unexpected(value, "a duration such as \"1.5s\""))?;
    seconds_and_nanos(seconds, nanos, out);
    Ok(())
}

fn timestamp(value: &Value, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let time: jiff::Timestamp = encode::string(value)?
        .parse()
        .map_err(|_| unexpected(value, "a time such as \"2026-01-02T03:04:05Z\""))?;
    let nanos = time.as_nanosecond();
    let seconds = nanos.div_euclid(1_000_000_000);
    // Both fit: jiff's range is smaller than protobuf's.
    seconds_and_nanos(seconds as i64, nanos.rem_euclid(1_000_000_000) as i32, out);
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, JsonError> {
    depth
        .checked_sub(1)
        .ok_or_else(|| JsonError::new("is nested too deeply"))
}

fn structure(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonError> {
    let Value::Object(object) = value else {
        return Err(unexpected(value, "an object"));
    };
    let depth = deeper(depth)?;
    for (key, value) in object {
        let (mut entry, mut inner) = (Vec::new(), Vec::new());
        dynamic(value, &mut inner, depth).map_err(|error| error.within(key))?;
        encode::delimited(1, key.as_bytes(), &mut entry);
        encode::delimited(2, &inner, &mut entry);
        encode::delimited(1, &entry, out);
    }
    Ok(())
}

fn list(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonError> {
    let Value::Array(values) = value else {
        return Err(unexpected(value, "a list"));
    };
    let depth = deeper(depth)?;
    for value in values {
        let mut inner = Vec::new();
        dynamic(value, &mut inner, depth)?;
        encode::delimited(1, &inner, out);
    }
    Ok(())
}

fn dynamic(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonError> {
    match value {
        Value::Null => encode::varint(1, 0, out),
        Value::Number(_) => {
            encode_key(2, WireType::SixtyFourBit, out);
            out.extend_from_slice(&encode::float(value)?.to_le_bytes());
        }
        Value::String(text) => encode::delimited(3, text.as_bytes(), out),
        Value::Bool(flag) => encode::varint(4, u64::from(*flag), out),
        Value::Object(_) => {
            let mut inner = Vec::new();
            structure(value, &mut inner, depth)?;
            encode::delimited(5, &inner, out);
        }
        Value::Array(_) => {
            let mut inner = Vec::new();
            list(value, &mut inner, depth)?;
            encode::delimited(6, &inner, out);
        }
    }
    Ok(())
}

/// `None` for messages without a form of their own.
pub fn decode(name: &str, bytes: &[u8], depth: usize) -> Option<Result<Value, JsonError>> {
    if !name.starts_with("google.protobuf.") {
        return None;
    }
    if is_wrapper(name) {
        let field = MessageType::find(name).and_then(|of| of.field_number(1))?;
        return Some(wrapped(field, bytes, depth));
    }
    Some(match name {
        ANY => shown_any(bytes, depth),
        "google.protobuf.Duration" => times(bytes).map(|(seconds, nanos)| {
            let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
            Value::String(format!(
                "{sign}{}{}s",
                seconds.unsigned_abs(),
                fraction(nanos.unsigned_abs())
            ))
        }),
        "google.protobuf.Timestamp" => times(bytes).map(|(seconds, nanos)| {
            jiff::Timestamp::new(seconds, nanos)
                .map_or(Value::Null, |time| Value::String(time.to_string()))
        }),
        "google.protobuf.Struct" => shown_struct(bytes, depth),
        "google.protobuf.ListValue" => shown_list(bytes, depth),
        VALUE => shown_value(bytes, depth),
        _ => return None,
    })
}

/// Nothing, or three, six or nine digits.
fn fraction(nanos: u32) -> String {
    if nanos == 0 {
        return String::new();
    }
    let digits = format!(".{nanos:09}");
    let short = digits.trim_end_matches("000");
    short.to_owned()
}

fn wrapped(field: Field, bytes: &[u8], depth: usize) -> Result<Value, JsonError> {
    let found = decode::fields(bytes)?;
    match found.iter().rev().find(|(number, _)| *number == 1) {
        Some((_, raw)) => decode::single(field.kind(), *raw, depth),
        None => Ok(match field.kind() {
            Kind::String | Kind::Bytes => Value::from(""),
            Kind::Bool => Value::Bool(false),
            Kind::Int64 | Kind::Uint64 => Value::from("0"),
            _ => Value::from(0),
        }),
    }
}

fn times(bytes: &[u8]) -> Result<(i64, i32), JsonError> {
    let (mut seconds, mut nanos) = (0, 0);
    for (number, raw) in decode::fields(bytes)? {
        match (number, raw) {
            (1, Raw::Varint(value)) => seconds = value as i64,
            (2, Raw::Varint(value)) => nanos = value as i32,
            _ => {}
        }
    }
    Ok((seconds, nanos))
}

fn shown_any(bytes: &[u8], depth: usize) -> Result<Value, JsonError> {
    let (mut url, mut content): (&[u8], &[u8]) = (&[], &[]);
    for (number, raw) in decode::fields(bytes)? {
        match (number, raw) {
            (1, Raw::Bytes(bytes)) => url = bytes,
            (2, Raw::Bytes(bytes)) => content = bytes,
            _ => {}
        }
    }
    let url = std::str::from_utf8(url).map_err(|_| JsonError::new("@type is not UTF-8"))?;
    let mut object = Map::new();
    if url.is_empty() {
        return Ok(Value::Object(object));
    }
    object.insert("@type".to_owned(), Value::from(url));
    let name = url.rsplit('/').next().unwrap_or(url);
    let shown = match MessageType::find(name) {
        Some(of) => decode::message(of, content, depth)?,
        // Shown all the same: a dump must not fail because of one extension.
        None => decode::single(Kind::Bytes, Raw::Bytes(content), depth)?,
    };
    match shown {
        Value::Object(fields) if !is_known(name) => object.extend(fields),
        other => {
            object.insert("value".to_owned(), other);
        }
    }
    Ok(Value::Object(object))
}

fn shown_struct(bytes: &[u8], depth: usize) -> Result<Value, JsonError> {
    let depth = deeper(depth)?;
    let mut object = Map::new();
    for (_, raw) in decode::fields(bytes)? {
        let Raw::Bytes(entry) = raw else {
            continue;
        };
        let (mut key, mut value) = (String::new(), Value::Null);
        for (number, raw) in decode::fields(entry)? {
            match (number, raw) {
                (1, Raw::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
                (2, Raw::Bytes(content)) => value = shown_value(content, depth)?,
                _ => {}
            }
        }
        object.insert(key, value);
    }
    object.sort_keys();
    Ok(Value::Object(object))
}

fn shown_list(bytes: &[u8], depth: usize) -> Result<Value, JsonError> {
    let depth = deeper(depth)?;
    let mut list = Vec::new();
    for (_, raw) in decode::fields(bytes)? {
        if let Raw::Bytes(content) = raw {
            list.push(shown_value(content, depth)?);
        }
    }
    Ok(Value::Array(list))
}

fn shown_value(bytes: &[u8], depth: usize) -> Result<Value, JsonError> {
    let mut value = Value::Null;
    for (number, raw) in decode::fields(bytes)? {
        value = match (number, raw) {
            (2, Raw::Fixed64(bytes)) => decode::number(f64::from_le_bytes(bytes)),
            (3, Raw::Bytes(text)) => Value::String(String::from_utf8_lossy(text).into_owned()),
            (4, Raw::Varint(flag)) => Value::Bool(flag != 0),
            (5, Raw::Bytes(content)) => shown_struct(content, depth)?,
            (6, Raw::Bytes(content)) => shown_list(content, depth)?,
            _ => Value::Null,
        };
    }
    Ok(value)
}
