//! Functions and methods; both are called alike.

use crate::Options;
use crate::value::Value;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use meltemi_schema::go_duration;
use std::borrow::Cow;

const SECOND: i128 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Duration,
    Timestamp,
    Int,
    Uint,
    Double,
    Bytes,
    Text,
    Dyn,
    Part(Part),
}

/// Part of a timestamp or of a duration, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

pub(crate) fn is_comprehension(name: &str) -> bool {
    ["all", "exists", "exists_one", "map", "filter"].contains(&name)
}

impl Function {
    pub(crate) fn find(name: &str, arguments: usize, options: Options) -> Result<Self, String> {
        let (function, takes) = match name {
            "size" => (Self::Size, 1),
            "contains" => (Self::Contains, 2),
            "startsWith" => (Self::StartsWith, 2),
            "endsWith" => (Self::EndsWith, 2),
            "duration" => (Self::Duration, 1),
            "timestamp" => (Self::Timestamp, 1),
            "int" => (Self::Int, 1),
            "uint" => (Self::Uint, 1),
            "double" => (Self::Double, 1),
            "bytes" => (Self::Bytes, 1),
            "dyn" => (Self::Dyn, 1),
            "string" if options.string_conversion => (Self::Text, 1),
            "string" => return Err("string() is off; enable_string_conversion is not set".into()),
            _ => match part(name) {
                Some(part) => (Self::Part(part), 1),
                None => return Err(format!("there is no function {name}()")),
            },
        };
        match arguments == takes {
            true => Ok(function),
            false => Err(format!(
                "{name}() takes {takes} values, with the one before the dot, and has {arguments}"
            )),
        }
    }

    pub(crate) fn call<'a>(self, arguments: Vec<Value<'a>>) -> Option<Value<'a>> {
        let mut arguments = arguments.into_iter();
        let of = arguments.next()?;
        Some(match (self, of, arguments.next()) {
            (Self::Size, Value::Text(text), _) => Value::Int(text.chars().count() as i64),
            (Self::Size, Value::Bytes(bytes), _) => Value::Int(bytes.len() as i64),
            (Self::Size, Value::List(list), _) => Value::Int(list.len() as i64),
            (Self::Contains, Value::Text(text), Some(Value::Text(part))) => {
                Value::Bool(text.contains(&*part))
            }
            (Self::StartsWith, Value::Text(text), Some(Value::Text(part))) => {
                Value::Bool(text.starts_with(&*part))
            }
            (Self::EndsWith, Value::Text(text), Some(Value::Text(part))) => {
                Value::Bool(text.ends_with(&*part))
            }
            (Self::Duration, Value::Text(text), _) => Value::Duration(go_duration(&text).ok()?),
            (Self::Duration, of @ Value::Duration(_), _) => of,
            (Self::Timestamp, Value::Text(text), _) => {
                Value::Timestamp(text.parse::<Timestamp>().ok()?.as_nanosecond())
            }
            (Self::Timestamp, Value::Int(seconds), _) => {
                Value::Timestamp(i128::from(seconds) * SECOND)
            }
            (Self::Timestamp, of @ Value::Timestamp(_), _) => of,
            (Self::Int, of, _) => Value::Int(int(&of)?),
            (Self::Uint, of, _) => Value::Uint(uint(&of)?),
            (Self::Double, of, _) => Value::Double(double(&of)?),
            (Self::Bytes, of @ Value::Bytes(_), _) => of,
            (Self::Bytes, Value::Text(text), _) => Value::Bytes(match text {
                Cow::Borrowed(text) => text.as_bytes().into(),
                Cow::Owned(text) => text.into_bytes().into(),
            }),
            (Self::Text, of, _) => Value::Text(text(of)?),
            (Self::Dyn, of, _) => of,
            (Self::Part(part), Value::Timestamp(at), _) => Value::Int(part.of_time(at)?),
            (Self::Part(part), Value::Duration(value), _) => Value::Int(part.of_duration(value)?),
            _ => return None,
        })
    }
}

fn part(name: &str) -> Option<Part> {
    Some(match name {
        "getFullYear" => Part::FullYear,
        "getMonth" => Part::Month,
        "getDate" => Part::Date,
        "getDayOfMonth" => Part::DayOfMonth,
        "getDayOfWeek" => Part::DayOfWeek,
        "getDayOfYear" => Part::DayOfYear,
        "getHours" => Part::Hours,
        "getMinutes" => Part::Minutes,
        "getSeconds" => Part::Seconds,
        "getMilliseconds" => Part::Milliseconds,
        _ => return None,
    })
}

impl Part {
    fn of_time(self, at: i128) -> Option<i64> {
        let at: Zoned = Timestamp::from_nanosecond(at).ok()?.to_zoned(TimeZone::UTC);
        Some(match self {
            Part::FullYear => at.year().into(),
            Part::Month => i64::from(at.month()) - 1,
            Part::Date => at.day().into(),
            Part::DayOfMonth => i64::from(at.day()) - 1,
            Part::DayOfWeek => at.weekday().to_sunday_zero_offset().into(),
            Part::DayOfYear => i64::from(at.day_of_year()) - 1,
            Part::Hours => at.hour().into(),
            Part::Minutes => at.minute().into(),
            Part::Seconds => at.second().into(),
            Part::Milliseconds => at.millisecond().into(),
        })
    }

    fn of_duration(self, value: i128) -> Option<i64> {
        let value = match self {
            Part::Hours => value / (3600 * SECOND),
            Part::Minutes => value / (60 * SECOND),
            Part::Seconds => value / SECOND,
            Part::Milliseconds => value % SECOND / 1_000_000,
            _ => return None,
        };
        value.try_into().ok()
    }
}

fn int(of: &Value<'_>) -> Option<i64> {
    match of {
        Value::Int(value) => Some(*value),
        Value::Uint(value) => (*value).try_into().ok(),
        // What lies beyond is no number of 64 bits.
        Value::Double(value) if value.abs() < 9.2e18 => Some(value.trunc() as i64),
        Value::Bool(value) => Some((*value).into()),
        Value::Text(text) => text.parse().ok(),
        Value::Timestamp(at) => at.div_euclid(SECOND).try_into().ok(),
        _ => None,
    }
}

fn uint(of: &Value<'_>) -> Option<u64> {
    match of {
        Value::Uint(value) => Some(*value),
        Value::Int(value) => (*value).try_into().ok(),
        Value::Double(value) if *value > -1.0 && *value < 1.8e19 => Some(value.trunc() as u64),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn double(of: &Value<'_>) -> Option<f64> {
    match of {
        Value::Double(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

pub(crate) fn text(of: Value<'_>) -> Option<Cow<'_, str>> {
    Some(match of {
        Value::Text(text) => text,
        Value::Bytes(bytes) => String::from_utf8(bytes.into_owned()).ok()?.into(),
        Value::Bool(value) => value.to_string().into(),
        Value::Int(value) => value.to_string().into(),
        Value::Uint(value) => value.to_string().into(),
        Value::Double(value) => value.to_string().into(),
        Value::Timestamp(at) => Timestamp::from_nanosecond(at).ok()?.to_string().into(),
        Value::Duration(value) => {
            let sign = if value < 0 { "-" } else { "" };
            let (whole, part) = (value.abs() / SECOND, value.abs() % SECOND);
            match part {
                0 => format!("{sign}{whole}s").into(),
                part => {
                    let part = format!("{part:09}");
                    format!("{sign}{whole}.{}s", part.trim_end_matches('0')).into()
                }
            }
        }
        Value::Null | Value::List(_) => return None,
    })
}
