//! How much the peer may ask of us without getting anything done: pings, settings, empty
//! frames and the like are answered and looked at, but not without end (CVE-2019-9512,
//! 9515, 9518).

use super::reason::Broken;
use std::time::{Duration, Instant};

/// Such frames within a [`WINDOW`], beside those that useful ones earn.
const FREE: u32 = 1000;
const WINDOW: Duration = Duration::from_secs(10);
/// Earned ones are saved up to this.
const MOST: u32 = 10_000;
/// What a stream and a frame of data earn (Envoy allows 10 WINDOW_UPDATEs for each).
const EARNED: u32 = 10;

pub(super) struct Budget {
    left: u32,
    filled: Instant,
}

impl Budget {
    pub fn new() -> Self {
        Self {
            left: FREE,
            filled: Instant::now(),
        }
    }

    /// A frame that got something done.
    pub fn earn(&mut self) {
        self.left = (self.left + EARNED).min(MOST);
    }

    /// A frame that did not.
    pub fn spend(&mut self) -> Result<(), Broken> {
        if self.left == 0 {
            if self.filled.elapsed() < WINDOW {
                return Err(Broken::flood("a flood of frames that do nothing"));
            }
            *self = Self::new();
        }
        self.left -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_frames_are_bounded_unless_work_is_done() {
        let mut budget = Budget::new();
        for _ in 0..10 * FREE {
            budget.earn();
            budget.spend().unwrap();
        }
        let mut spent = 0;
        while budget.spend().is_ok() {
            spent += 1;
        }
        assert!((FREE..=MOST).contains(&spent), "{spent}");
        budget.filled -= WINDOW;
        assert!(budget.spend().is_ok());
    }
}
