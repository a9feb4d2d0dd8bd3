//! Waiting for conditions, never for the clock.

use std::time::{Duration, Instant};

/// Between two looks.
const STEP: Duration = Duration::from_millis(20);

/// Looks until `look` finds something.
///
/// # Errors
/// The last reason that `look` gave, after `limit`.
pub fn attempt<T>(
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let begun = Instant::now();
    loop {
        match look() {
            Err(_) if begun.elapsed() < limit => std::thread::sleep(STEP),
            result => return result,
        }
    }
}

/// As [`attempt`].
///
/// # Panics
/// After `limit`, with `what` and the last reason.
pub fn until<T>(what: &str, limit: Duration, look: impl FnMut() -> Result<T, String>) -> T {
    attempt(limit, look).unwrap_or_else(|reason| {
        let seconds = limit.as_secs_f64();
        panic!("{what}: not within {seconds:.1} s; last: {reason}")
    })
}

/// As [`until`], for a plain condition.
pub fn until_true(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    until(what, limit, || {
        condition()
            .then_some(())
            .ok_or_else(|| "it does not hold".into())
    })
}
