//! Durations of the Gateway API (GEP-2257): whole numbers with units, without fractions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Duration;

/// One to four numbers of up to five digits, each with `h`, `m`, `s` or `ms`: `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GatewayDuration(Duration);

impl GatewayDuration {
    /// The span of time.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Whether it is no time at all, which stands for "no limit".
    pub fn is_zero(self) -> bool {
        self.0 == Duration::default()
    }
}

impl FromStr for GatewayDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "{text:?} is not a duration of the Gateway API; write whole numbers with h, m, s or ms, for example 1m30s or 500ms"
            )
        };
        let (mut rest, mut parts, mut millis) = (text, 0, 0_u64);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let (number, tail) = rest.split_at(digits);
            let unit = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit);
            let factor = match unit {
                "h" => 3_600_000,
                "m" => 60_000,
                "s" => 1_000,
                "ms" => 1,
                _ => return Err(wrong()),
            };
            parts += 1;
            if !(1..=5).contains(&digits) || parts > 4 {
                return Err(wrong());
            }
            millis += number.parse::<u64>().map_err(|_| wrong())? * factor;
            rest = tail;
        }
        if parts == 0 {
            return Err(wrong());
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for GatewayDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.get().as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        let parts = [
            (millis / 3_600_000, "h"),
            (millis / 60_000 % 60, "m"),
            (millis / 1_000 % 60, "s"),
            (millis % 1_000, "ms"),
        ];
        for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
            write!(f, "{number}{unit}")?;
        }
        Ok(())
    }
}

impl Serialize for GatewayDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GatewayDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_with_units() {
        for (text, millis, written) in [
            ("0s", 0, "0s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("500ms", 500, "500ms"),
            ("90s", 90_000, "1m30s"),
            ("1s5ms", 1_005, "1s5ms"),
        ] {
            let read: GatewayDuration = text.parse().unwrap();
            assert_eq!(read.get(), Duration::from_millis(millis), "{text}");
            assert_eq!(read.to_string(), written);
        }
        for text in ["", "1", "1.5s", "s", "-1s", "100000s", "1s1s1s1s1s", "1d"] {
            assert!(text.parse::<GatewayDuration>().is_err(), "{text}");
        }
    }
}
