//! Durations as Go's `time.ParseDuration` reads them, such as `1.5s` or `1h30m`: in what users
//! write for Istio, in patches of Envoy's messages, and in CEL.

/// Why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// Not numbers with units.
    Syntax,
    /// A number lacks its unit.
    NoUnit,
    /// A number of more than 64 bits.
    TooLong,
}

/// Its nanoseconds; what is below one is cut off. Go's own bound, 64 bits of them, is the
/// caller's to keep.
///
/// # Errors
/// A text that is no duration.
pub fn go_duration(text: &str) -> Result<i128, DurationError> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(DurationError::Syntax);
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let in_number = |c: char| c.is_ascii_digit() || c == '.';
        let end = rest.find(|c| !in_number(c)).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let (unit, tail) = tail.split_at(tail.find(in_number).unwrap_or(tail.len()));
        total += nanos(number, unit)?;
        rest = tail;
    }
    Ok(if negative { -total } else { total })
}

fn nanos(number: &str, unit: &str) -> Result<i128, DurationError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(DurationError::Syntax);
    }
    let unit: i128 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" => return Err(DurationError::NoUnit),
        _ => return Err(DurationError::Syntax),
    };
    let digits = |digits: &str| match digits {
        "" => Ok(0),
        digits => digits.parse::<u64>().map_err(|_| DurationError::TooLong),
    };
    // Digits below a nanosecond of the largest unit carry nothing.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = i128::from(digits(fraction)?) * unit / 10_i128.pow(fraction.len() as u32);
    Ok(i128::from(digits(whole)?) * unit + part)
}

#[cfg(test)]
mod tests {
    use super::{DurationError, go_duration};

    #[test]
    fn what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("1ns", 1),
            ("7µs", 7_000),
            ("7μs", 7_000),
            ("500ms", 500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+2s", 2_000_000_000),
            ("-1m", -60_000_000_000),
            ("1h1m1.5s", 3_661_500_000_000),
            ("1m1ms", 60_001_000_000),
            ("0.0000000009s", 0),
            ("0.3333333333333333333h", 1_199_999_999_999),
        ] {
            assert_eq!(go_duration(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn what_go_refuses() {
        use DurationError::{NoUnit, Syntax, TooLong};
        for (text, error) in [
            ("", Syntax),
            ("-", Syntax),
            ("s", Syntax),
            (".", Syntax),
            (".s", Syntax),
            ("1x", Syntax),
            ("1 s", Syntax),
            ("1..5s", Syntax),
            ("1.2.3s", Syntax),
            ("--1s", Syntax),
            ("5", NoUnit),
            ("1h5", NoUnit),
            ("99999999999999999999s", TooLong),
        ] {
            assert_eq!(go_duration(text), Err(error), "{text}");
        }
    }
}
