//! The bound on downstream connections of the process.

use crate::telemetry::stats::Gauge;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts connections of all workers against a limit.
#[derive(Clone)]
pub struct ConnectionLimit(Arc<State>);

struct State {
    maximum: u32,
    active: AtomicU32,
    gauge: Gauge,
}

impl ConnectionLimit {
    pub fn new(maximum: u32) -> Self {
        Self(Arc::new(State {
            maximum,
            active: AtomicU32::new(0),
            gauge: Gauge::new("server.total_connections"),
        }))
    }

    pub fn active(&self) -> u32 {
        self.0.active.load(Ordering::Relaxed)
    }

    /// A place for a connection, given back when it is dropped; `None` when all are taken.
    pub fn take(&self) -> Option<Place> {
        let taken = self.0.active.fetch_add(1, Ordering::Relaxed);
        if taken >= self.0.maximum {
            self.0.active.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.0.gauge.inc();
        Some(Place(self.clone()))
    }
}

pub struct Place(ConnectionLimit);

impl Drop for Place {
    fn drop(&mut self) {
        let state = &self.0.0;
        state.active.fetch_sub(1, Ordering::Relaxed);
        state.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let limit = ConnectionLimit::new(2);
        let first = limit.take();
        let second = limit.take();
        assert!(first.is_some() && second.is_some() && limit.take().is_none());
        drop(first);
        assert!(limit.take().is_some());
        assert_eq!(limit.active(), 1);
    }
}
