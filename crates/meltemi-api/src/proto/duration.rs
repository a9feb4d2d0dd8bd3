//! Durations as Istio reads them: Go's `time.ParseDuration` ("1.5s", "1h30m", "100ms", "0").

use std::fmt;
use std::str::FromStr;

use meltemi_schema::{self as schema, go_duration};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A non-negative span of time, at most 2^63-1 nanoseconds (Go's bound, about 292 years).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(pub std::time::Duration);

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number with a unit.
    #[error("{0:?} is not a duration; write a number and a unit, for example 1.5s, 200ms, 1h30m")]
    Syntax(String),
    /// The number lacks its unit.
    #[error("{0:?} has no unit; write for example {0}s")]
    NoUnit(String),
    /// Time runs forward only.
    #[error("{0:?} is negative; a duration must be 0s or more")]
    Negative(String),
    /// Beyond 2^63-1 nanoseconds.
    #[error("{0:?} is too long; the longest duration is about 292 years")]
    TooLong(String),
}

impl Duration {
    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// Whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// The standard library's type.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(value: Duration) -> Self {
        value.0
    }
}

impl From<std::time::Duration> for Duration {
    fn from(value: std::time::Duration) -> Self {
        Self(value)
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let nanos = go_duration(text).map_err(|error| {
            let text = text.to_owned();
            match error {
                schema::DurationError::Syntax => DurationError::Syntax(text),
                schema::DurationError::NoUnit => DurationError::NoUnit(text),
                schema::DurationError::TooLong => DurationError::TooLong(text),
            }
        })?;
        if nanos < 0 {
            return Err(DurationError::Negative(text.to_owned()));
        }
        let nanos = i64::try_from(nanos).map_err(|_| DurationError::TooLong(text.to_owned()))?;
        Ok(Self(std::time::Duration::from_nanos(nanos.unsigned_abs())))
    }
}

impl fmt::Display for Duration {
    /// Proto JSON's form: seconds with as many decimals as needed, `1.5s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.subsec_nanos();
        if nanos == 0 {
            return write!(f, "{}s", self.0.as_secs());
        }
        let fraction = format!("{nanos:09}");
        write!(
            f,
            "{}.{}s",
            self.0.as_secs(),
            fraction.trim_end_matches('0')
        )
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 1.5s")
            }

            fn visit_str<E: de::Error>(self, v: &str) -> Result<Duration, E> {
                v.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Duration, E> {
                if v == 0 {
                    return Ok(Duration::default());
                }
                Err(E::custom(DurationError::NoUnit(v.to_string())))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, millis) in [
            ("1.5s", 1500),
            ("0", 0),
            ("0s", 0),
            ("100ms", 100),
            ("1h30m", 5_400_000),
            (".5s", 500),
            ("1.s", 1000),
            ("+2s", 2000),
            ("1m1.25s", 61_250),
        ] {
            assert_eq!(
                text.parse::<Duration>().unwrap(),
                Duration::from_millis(millis),
                "{text}"
            );
        }
        assert_eq!("1us".parse::<Duration>().unwrap().get().as_nanos(), 1000);
    }

    #[test]
    fn refuses_with_a_remedy() {
        for text in [
            "",
            "s",
            "1",
            "1x",
            "1..5s",
            ".",
            "-1s",
            "-",
            "1 s",
            "10000000h",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
        assert!(
            "5".parse::<Duration>()
                .unwrap_err()
                .to_string()
                .contains("5s")
        );
    }

    #[test]
    fn writes_proto_json() {
        assert_eq!(Duration::from_millis(1500).to_string(), "1.5s");
        assert_eq!(Duration::from_secs(60).to_string(), "60s");
        assert_eq!(
            Duration(std::time::Duration::from_nanos(1)).to_string(),
            "0.000000001s"
        );
    }
}
