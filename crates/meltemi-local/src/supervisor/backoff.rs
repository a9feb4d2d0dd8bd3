//! Waiting longer after each failure.

use std::time::{Duration, Instant};

/// First wait; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// A run as long as this was a success: waiting starts over.
const STEADY: Duration = Duration::from_secs(60);

/// The waits of one restarted process: 0.5 s, 1 s, 2 s ... 60 s.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    started: Instant,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self {
            next: FIRST,
            started: Instant::now(),
        }
    }

    /// The process has been started.
    pub(crate) fn started(&mut self) {
        self.started = Instant::now();
    }

    /// The process has ended: how long to wait before the next start.
    pub(crate) fn ended(&mut self) -> Duration {
        if self.started.elapsed() >= STEADY {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_start_over_after_a_steady_run() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..9).map(|_| backoff.ended().as_millis()).collect();
        assert_eq!(
            waits,
            [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
        );
        backoff.started = Instant::now().checked_sub(STEADY).unwrap();
        assert_eq!(backoff.ended(), FIRST);
    }
}
