//! The overload manager: what the process does without while resources run short.
//!
//! The main thread looks at the resources ([`monitor`]) in even intervals, makes levels of
//! actions of their pressure ([`trigger`]) and publishes them; workers read a level where they
//! would otherwise take on more work. Nothing is ever ended for it that is under way.

mod compile;
mod monitor;
mod refresh;
mod trigger;

pub use compile::overload;
pub use refresh::refresh;

use monitor::Monitor;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use trigger::Trigger;

/// A level of an action that is taken always.
const FULL: u32 = 1000;

/// The compiled `overload_manager` of a bootstrap.
#[derive(Clone, Debug)]
pub struct Overload {
    interval: Duration,
    monitors: Vec<(Box<str>, Monitor)>,
    actions: Vec<Action>,
    /// `max_active_downstream_connections`, of all listeners together.
    pub max_connections: Option<u32>,
}

/// A configured action or load shed point.
#[derive(Clone, Debug)]
struct Action {
    name: Box<str>,
    effect: Effect,
    /// By the index of a monitor.
    triggers: Vec<(usize, Trigger)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    StopRequests,
    DisableKeepalive,
    StopConnections,
    RejectConnections,
    ShrinkHeap,
}

/// What the workers do at the moment; in thousandths, as often as that is done.
#[derive(Debug, Default)]
pub struct Levels {
    stop_requests: AtomicU32,
    disable_keepalive: AtomicU32,
    stop_connections: AtomicU32,
    reject_connections: AtomicU32,
    changed: Notify,
}

impl Levels {
    /// Whether a request is to be answered 503.
    pub fn refuses_request(&self) -> bool {
        hits(&self.stop_requests)
    }

    /// Whether a connection is to end with the answer that is being made.
    pub fn ends_connection(&self) -> bool {
        hits(&self.disable_keepalive)
    }

    /// Whether a connection is to be closed as soon as it is accepted.
    pub fn rejects_connection(&self) -> bool {
        hits(&self.reject_connections)
    }

    /// Resolves when connections are to be left in the kernel's queue.
    pub async fn stopped(&self) {
        self.until(true).await;
    }

    /// Resolves when they are to be accepted again.
    pub async fn resumed(&self) {
        self.until(false).await;
    }

    async fn until(&self, stopped: bool) {
        loop {
            // Registered before the question: a change in between is not lost.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if (self.stop_connections.load(Ordering::Relaxed) == FULL) == stopped {
                return;
            }
            changed.await;
        }
    }

    fn set(&self, effect: Effect, level: u32) {
        let place = match effect {
            Effect::StopRequests => &self.stop_requests,
            Effect::DisableKeepalive => &self.disable_keepalive,
            Effect::StopConnections => &self.stop_connections,
            Effect::RejectConnections => &self.reject_connections,
            Effect::ShrinkHeap => return,
        };
        if place.swap(level, Ordering::Relaxed) != level {
            self.changed.notify_waiters();
        }
    }
}

/// True for as many thousandths of the calls as the level says.
fn hits(level: &AtomicU32) -> bool {
    match level.load(Ordering::Relaxed) {
        0 => false,
        FULL => true,
        level => fastrand::u32(..FULL) < level,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn levels_hit_as_often_as_they_say_and_wake_who_waits() {
        let levels = Levels::default();
        assert!(!levels.refuses_request());
        levels.set(Effect::StopRequests, FULL);
        assert!(levels.refuses_request() && !levels.rejects_connection());
        levels.set(Effect::RejectConnections, FULL / 2);
        let hits = (0..1000).filter(|_| levels.rejects_connection()).count();
        assert!((300..700).contains(&hits), "{hits}");
        levels.resumed().await;
        let stopping = async { levels.set(Effect::StopConnections, FULL) };
        tokio::join!(levels.stopped(), stopping);
        let resuming = async { levels.set(Effect::StopConnections, 999) };
        tokio::join!(levels.resumed(), resuming);
    }
}
