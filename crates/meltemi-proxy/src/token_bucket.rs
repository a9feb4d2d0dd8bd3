//! A token bucket that all workers share, without a lock.
//!
//! It fills continuously, as Envoy's: `tokens_per_fill` every `fill_interval` is a rate. All of
//! its state is one number, the time at which it was empty or would have been: who takes
//! tokens moves it forward.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where the clock of all buckets begins.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Envoy's `TokenBucket`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenRate {
    /// What the bucket holds when it is full, and at the beginning.
    pub max_tokens: u32,
    pub tokens_per_fill: u32,
    /// Not zero.
    pub fill_interval: Duration,
}

impl TokenRate {
    pub fn tokens_per_second(&self) -> f64 {
        f64::from(self.tokens_per_fill) / self.fill_interval.as_secs_f64()
    }
}

#[derive(Debug)]
pub struct TokenBucket {
    pub rate: TokenRate,
    /// Seconds since `ORIGIN`, the bits of an `f64`; negative for a bucket that began full.
    empty_at: AtomicU64,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: TokenRate) -> Self {
        Self::at(rate, now())
    }

    fn at(rate: TokenRate, now: f64) -> Self {
        let empty_at = now - f64::from(rate.max_tokens) / rate.tokens_per_second();
        Self {
            rate,
            empty_at: AtomicU64::new(empty_at.to_bits()),
        }
    }

    /// Takes a token; false: there is none, and nothing changes.
    pub fn take(&self) -> bool {
        self.take_at(now())
    }

    fn take_at(&self, now: f64) -> bool {
        let mut taken = false;
        // Ordering: the number stands for itself, nothing else is read by it.
        let _ = self
            .empty_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |empty_at| {
                let tokens = self.tokens(f64::from_bits(empty_at), now);
                taken = tokens >= 1.0;
                let left = now - (tokens - 1.0) / self.rate.tokens_per_second();
                taken.then_some(left.to_bits())
            });
        taken
    }

    fn tokens(&self, empty_at: f64, now: f64) -> f64 {
        let filled = (now - empty_at) * self.rate.tokens_per_second();
        filled.clamp(0.0, f64::from(self.rate.max_tokens))
    }

    /// Whole tokens in the bucket.
    pub fn remaining(&self) -> u32 {
        let empty_at = f64::from_bits(self.empty_at.load(Ordering::Relaxed));
        self.tokens(empty_at, now()) as u32
    }

    /// Until there is a token.
    pub fn next_token(&self) -> Duration {
        let empty_at = f64::from_bits(self.empty_at.load(Ordering::Relaxed));
        let missing = 1.0 - self.tokens(empty_at, now());
        let seconds = missing.max(0.0) / self.rate.tokens_per_second();
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

fn now() -> f64 {
    ORIGIN.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(max_tokens: u32, tokens_per_fill: u32, millis: u64) -> TokenBucket {
        let fill_interval = Duration::from_millis(millis);
        let rate = TokenRate {
            max_tokens,
            tokens_per_fill,
            fill_interval,
        };
        TokenBucket::at(rate, 100.0)
    }

    fn takes(bucket: &TokenBucket, at: f64) -> usize {
        (0..100).take_while(|_| bucket.take_at(at)).count()
    }

    #[test]
    fn it_begins_full_and_fills_at_its_rate_up_to_its_size() {
        let bucket = bucket(4, 2, 1000);
        assert_eq!(takes(&bucket, 100.0), 4);
        assert_eq!(takes(&bucket, 100.4), 0, "four fifths of a token");
        assert_eq!(takes(&bucket, 100.6), 1);
        assert_eq!(takes(&bucket, 101.6), 2);
        assert_eq!(takes(&bucket, 500.0), 4);
    }

    #[test]
    fn threads_take_no_token_twice() {
        let bucket = bucket(1000, 1, 1000);
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| bucket.take_at(100.0)).count()))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}
