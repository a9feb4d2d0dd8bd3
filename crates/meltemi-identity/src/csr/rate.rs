//! How often one peer may ask.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::PeerAddress;

/// Peers whose recent calls are remembered. When there are more, those that
/// have been quiet are forgotten; if none has, newcomers are turned away.
const MAX_PEERS: usize = 4096;

/// A token bucket for each peer: a process, an address, or a user where the
/// process is not known.
pub struct RateLimit {
    burst: f64,
    per_second: f64,
    buckets: Mutex<HashMap<Key, Bucket>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Process(i32),
    User(u32),
    Address(IpAddr),
    Unknown,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Default for RateLimit {
    /// 20 at once, then one in two seconds: a workload needs two a day.
    fn default() -> Self {
        Self::new(20, 0.5)
    }
}

impl RateLimit {
    /// `burst` requests at once, refilled with `per_second` a second.
    pub fn new(burst: u32, per_second: f64) -> Self {
        Self {
            burst: f64::from(burst),
            per_second,
            buckets: Mutex::default(),
        }
    }

    /// Whether the peer may ask now.
    pub(super) fn admit(&self, peer: &PeerAddress) -> bool {
        self.admit_at(peer, Instant::now())
    }

    fn admit_at(&self, peer: &PeerAddress, now: Instant) -> bool {
        let key = match peer {
            PeerAddress::Unix { pid: Some(pid), .. } => Key::Process(*pid),
            PeerAddress::Unix { pid: None, uid } => Key::User(*uid),
            PeerAddress::Tcp(address) => Key::Address(address.ip()),
            PeerAddress::Unknown => Key::Unknown,
        };
        // A panic cannot leave a bucket in a state that matters.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_PEERS && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| self.refilled(bucket, now) < self.burst);
            if buckets.len() >= MAX_PEERS {
                return false;
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket {
            tokens: self.burst,
            at: now,
        });
        bucket.tokens = self.refilled(bucket, now);
        bucket.at = now;
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }

    fn refilled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let seconds = now.duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + seconds * self.per_second).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn peer(pid: i32) -> PeerAddress {
        PeerAddress::Unix {
            pid: Some(pid),
            uid: 0,
        }
    }

    #[test]
    fn a_peer_that_asks_too_often_waits_and_others_do_not() {
        let limit = RateLimit::new(2, 1.0);
        let now = Instant::now();
        assert!(limit.admit_at(&peer(1), now));
        assert!(limit.admit_at(&peer(1), now));
        assert!(!limit.admit_at(&peer(1), now));
        assert!(limit.admit_at(&peer(2), now));
        assert!(limit.admit_at(&peer(1), now + Duration::from_secs(1)));
    }

    #[test]
    fn the_memory_of_peers_is_bounded() {
        let limit = RateLimit::new(1, 1.0);
        let now = Instant::now();
        for pid in 1..=MAX_PEERS as i32 {
            assert!(limit.admit_at(&peer(pid), now));
        }
        assert!(!limit.admit_at(&peer(0), now));
        assert!(limit.admit_at(&peer(0), now + Duration::from_secs(2)));
        assert_eq!(limit.buckets.lock().unwrap().len(), 1);
    }
}
