//! The `date` of answers: made once a second and thread.

use http::HeaderValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

thread_local! {
    static NOW: RefCell<(u64, HeaderValue)> =
        const { RefCell::new((0, HeaderValue::from_static(""))) };
}

/// Hands out the time, as RFC 9110 5.6.7 writes it.
pub(super) fn with<T>(take: impl FnOnce(&HeaderValue) -> T) -> T {
    let second = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    NOW.with_borrow_mut(|(known, value)| {
        if *known != second {
            *known = second;
            *value = written(second).unwrap_or_else(|| HeaderValue::from_static(""));
        }
        take(value)
    })
}

fn written(second: u64) -> Option<HeaderValue> {
    let time = Timestamp::from_second(i64::try_from(second).ok()?).ok()?;
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&time);
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text.ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_writes_them() {
        assert_eq!(
            written(784_111_777).unwrap(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(with(HeaderValue::len), 29);
    }
}
