//! The `Date` of answers: one a second and thread.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

thread_local! {
    static NOW: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Calls `write` with the date now, as RFC 9110 5.6.7 writes it.
pub(super) fn with(write: impl FnOnce(&[u8])) {
    let second = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    NOW.with_borrow_mut(|(known, text)| {
        if *known != second {
            *known = second;
            *text = i64::try_from(second)
                .ok()
                .and_then(|second| Timestamp::from_second(second).ok())
                .and_then(|now| {
                    DateTimePrinter::new()
                        .timestamp_to_rfc9110_string(&now)
                        .ok()
                })
                .unwrap_or_default();
        }
        write(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_those_of_http() {
        super::with(|date| {
            let text = std::str::from_utf8(date).unwrap();
            assert_eq!((text.len(), &text[25..]), (29, " GMT"));
        });
    }
}
