//! 64-bit integers: proto JSON writes them as text and reads both forms.

use std::fmt;

use serde::{Deserializer, de};

/// Reads an unsigned 64-bit integer from a number or from decimal text; `null` is absent.
pub fn lenient_u64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match deserializer.deserialize_any(IntVisitor)? {
        None => Ok(None),
        Some(value) => u64::try_from(value)
            .map(Some)
            .map_err(|_| de::Error::custom(format!("{value} is not an unsigned 64-bit integer"))),
    }
}

/// Reads a signed 64-bit integer from a number or from decimal text; `null` is absent.
pub fn lenient_i64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match deserializer.deserialize_any(IntVisitor)? {
        None => Ok(None),
        Some(value) => i64::try_from(value)
            .map(Some)
            .map_err(|_| de::Error::custom(format!("{value} is not a signed 64-bit integer"))),
    }
}

struct IntVisitor;

impl de::Visitor<'_> for IntVisitor {
    type Value = Option<i128>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer (or an integer as text)")
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Self::Value, E> {
        Ok(Some(v.into()))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Self::Value, E> {
        Ok(Some(v.into()))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
        v.parse::<i128>()
            .map(Some)
            .map_err(|_| E::invalid_value(de::Unexpected::Str(v), &self))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}
