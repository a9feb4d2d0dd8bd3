//! The time, read once a poll.
//!
//! A request asks for the time a dozen times within microseconds, and each reading costs as much
//! as a lookup in a table. While a task's poll runs under [`in_poll`], the first reading holds for
//! all of it; anywhere else [`now`] reads the clock.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy)]
enum Reading {
    /// No poll is under way that ends what was read.
    None,
    Due,
    Taken(Instant),
}

thread_local! {
    static READING: Cell<Reading> = const { Cell::new(Reading::None) };
}

/// The moment at which the running poll asked first; not for what takes long within one poll.
pub(crate) fn now() -> Instant {
    READING.with(|reading| match reading.get() {
        Reading::Taken(at) => at,
        Reading::Due => {
            let at = Instant::now();
            reading.set(Reading::Taken(at));
            at
        }
        Reading::None => Instant::now(),
    })
}

/// The wall clock, in seconds since 1970.
pub(crate) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// Runs one poll of a task.
pub(crate) fn in_poll<T>(poll: impl FnOnce() -> T) -> T {
    let _poll = Poll::begin();
    poll()
}

/// Ends the reading, in a panic too.
struct Poll(Reading);

impl Poll {
    fn begin() -> Self {
        Self(READING.replace(Reading::Due))
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        READING.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(at: Instant) -> Instant {
        while Instant::now() == at {}
        now()
    }

    #[test]
    fn one_reading_holds_for_a_poll_and_no_longer() {
        let (first, second) = in_poll(|| (now(), after(now())));
        assert_eq!(first, second);
        assert!(in_poll(|| after(first)) > first);
        let outside = now();
        assert!(after(outside) > outside);
    }
}
