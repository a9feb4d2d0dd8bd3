//! Moments as text.

use std::cell::RefCell;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

thread_local! {
    /// The second formatted last, and its text up to the fraction.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// Appends a moment: ISO 8601 with milliseconds where there is no format.
pub(super) fn write(out: &mut String, format: &str, at: SystemTime) {
    if format.is_empty()
        && let Ok(since) = at.duration_since(UNIX_EPOCH)
    {
        return SECOND.with_borrow_mut(|(second, text)| {
            if *second != since.as_secs() {
                let Ok(timestamp) = jiff::Timestamp::from_second(since.as_secs() as i64) else {
                    out.push('-');
                    return;
                };
                text.clear();
                let _ = write!(text, "{timestamp:.0}");
                text.truncate(text.len() - 1);
                *second = since.as_secs();
            }
            out.push_str(text);
            out.push('.');
            // Of four digits, the last three: with their zeroes.
            out.push_str(&itoa::Buffer::new().format(1000 + since.subsec_millis())[1..]);
            out.push('Z');
        });
    }
    let Ok(timestamp) = jiff::Timestamp::try_from(at) else {
        out.push('-');
        return;
    };
    if format.is_empty() {
        let _ = write!(out, "{timestamp:.3}");
        return;
    }
    let format = fractions(format, at);
    match jiff::fmt::strtime::format(&format, &timestamp.to_zoned(jiff::tz::TimeZone::UTC)) {
        Ok(text) => out.push_str(&text),
        Err(_) => out.push('-'),
    }
}

/// Envoy's `%3f` and its kin are digits of the fraction, `%f` nine of them; the rest is
/// strftime's.
fn fractions(format: &str, at: SystemTime) -> String {
    let nanos = at
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    let digits = format!("{nanos:09}");
    let mut out = String::with_capacity(format.len() + 9);
    let mut rest = format.trim_end_matches('%');
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match rest.as_bytes() {
            [_, b'f', ..] => Some((9, 2)),
            [_, count @ b'1'..=b'9', b'f', ..] => Some((usize::from(count - b'0'), 3)),
            _ => None,
        };
        let length = match taken {
            Some((count, length)) => {
                out.push_str(&digits[..count]);
                length
            }
            None => {
                let length = rest.chars().take(2).map(char::len_utf8).sum();
                out.push_str(&rest[..length]);
                length
            }
        };
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn fractions_have_the_digits_that_are_asked_for() {
        let at = UNIX_EPOCH + Duration::new(1_000_000_000, 12_345_678);
        for (format, wanted) in [
            ("", "2001-09-09T01:46:40.012Z"),
            ("%s.%3f", "1000000000.012"),
            ("%s.%6f", "1000000000.012345"),
            ("%f|%1f|%9f", "012345678|0|012345678"),
            ("%Y/%m/%dT%H:%M:%S%z", "2001/09/09T01:46:40+0000"),
        ] {
            let mut out = String::new();
            write(&mut out, format, at);
            assert_eq!(out, wanted, "{format}");
        }
    }
}
