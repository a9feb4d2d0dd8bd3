//! The overload manager: what the process does without while resources run short.
//!
//! The main thread looks at the resources ([`monitor`]) in even intervals, makes levels of
//! actions of their pressure ([`trigger`]) and publishes them; workers read a level where they
//! would otherwise take on more work. Two things alone end what is under way for it: timers that
//! are shortened ([`timers`]), and the load shed point that says so.

mod compile;
mod monitor;
mod refresh;
mod timers;
mod trigger;

pub use compile::overload;
pub use refresh::refresh;
pub use timers::Timer;

use crate::telemetry::stats::Counter;
use monitor::Monitor;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use timers::Minimums;
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
    timers: Minimums,
    /// `max_active_downstream_connections`, of all listeners together.
    pub max_connections: Option<u32>,
}

/// A configured action or load shed point.
#[derive(Clone, Debug)]
struct Action {
    name: Box<str>,
    effect: Effect,
    /// A load shed point: how often load is shed there is counted.
    counted: bool,
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
    ReduceTimeouts,
    RefuseHttp,
    AbortHttp1,
    DrainHttp,
    CloseHttp,
    RefuseForwarding,
    RefuseUpstream,
    RefuseTcp,
}

const EFFECTS: usize = Effect::RefuseTcp as usize + 1;

/// What the workers do at the moment.
#[derive(Debug, Default)]
pub struct Levels {
    /// By [`Effect`]; in thousandths, as often as that is done.
    levels: [AtomicU32; EFFECTS],
    /// By [`Effect`] of load shed points, `overload.NAME.shed_load_count`.
    sheds: [Option<Counter>; EFFECTS],
    timers: Minimums,
    /// Between two looks at the resources; `None`: no timer is reduced.
    look: Option<Duration>,
    changed: Notify,
}

impl Levels {
    /// As long as nobody has looked at the resources: nothing is done.
    pub fn of(overload: &Overload) -> Self {
        let mut sheds = [None; EFFECTS];
        for point in overload.actions.iter().filter(|action| action.counted) {
            let counter = Counter::scoped("overload", &point.name, "shed_load_count");
            sheds[point.effect as usize] = Some(counter);
        }
        Self {
            sheds,
            timers: overload.timers,
            look: overload.timers.any().then_some(overload.interval),
            ..Self::default()
        }
    }

    /// Whether a request is to be answered 503.
    pub fn refuses_request(&self) -> bool {
        self.hits(Effect::StopRequests)
    }

    /// Whether a connection is to end with the answer that is being made.
    pub fn ends_connection(&self) -> bool {
        self.hits(Effect::DisableKeepalive)
    }

    /// The same, by a load shed point.
    pub fn drains_connection(&self) -> bool {
        self.hits(Effect::DrainHttp)
    }

    /// Whether an HTTP connection is to end with a request that comes, and with all it carries.
    pub fn closes_connection(&self) -> bool {
        self.hits(Effect::CloseHttp)
    }

    /// Whether a request by HTTP/1 is to be answered 500, as the last of its connection.
    pub fn aborts_http1(&self) -> bool {
        self.hits(Effect::AbortHttp1)
    }

    /// Whether a connection is to be closed as soon as it is accepted.
    pub fn rejects_connection(&self) -> bool {
        self.hits(Effect::RejectConnections)
    }

    /// Whether a connection is to be closed before it is read as HTTP.
    pub fn refuses_http(&self) -> bool {
        self.hits(Effect::RefuseHttp)
    }

    /// Whether a request that passed the filters is to be answered 503.
    pub fn refuses_forwarding(&self) -> bool {
        self.hits(Effect::RefuseForwarding)
    }

    /// Whether no connection to an upstream is to be made.
    pub fn refuses_upstream(&self) -> bool {
        self.hits(Effect::RefuseUpstream)
    }

    /// Whether a TCP connection is to be closed before its upstream is connected to.
    pub fn refuses_tcp(&self) -> bool {
        self.hits(Effect::RefuseTcp)
    }

    /// A limit as it stands: the configured one, or what is left of it.
    pub fn reduced(&self, timer: Timer, limit: Duration) -> Duration {
        let Some(minimum) = self.timers.of(timer) else {
            return limit;
        };
        let level = self.level(Effect::ReduceTimeouts);
        let minimum = minimum.of(limit);
        minimum + (limit - minimum) * (FULL - level) / FULL
    }

    /// When to look at a deadline that [`reduced`](Self::reduced) gave: before it is due where it
    /// may come nearer.
    pub fn look_at(&self, due: Instant) -> Instant {
        match self.look {
            None => due,
            Some(look) => due.min(Instant::now() + look),
        }
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
            if (self.level(Effect::StopConnections) == FULL) == stopped {
                return;
            }
            changed.await;
        }
    }

    fn level(&self, effect: Effect) -> u32 {
        self.levels[effect as usize].load(Ordering::Relaxed)
    }

    /// True for as many thousandths of the calls as the level says.
    fn hits(&self, effect: Effect) -> bool {
        let hit = match self.level(effect) {
            0 => return false,
            FULL => true,
            level => fastrand::u32(..FULL) < level,
        };
        if hit && let Some(counter) = self.sheds[effect as usize] {
            counter.inc();
        }
        hit
    }

    fn set(&self, effect: Effect, level: u32) {
        if self.levels[effect as usize].swap(level, Ordering::Relaxed) != level {
            self.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
impl Levels {
    /// Of one timer, which is looked at every 10 ms.
    pub fn reducing(timer: Timer, minimum: Duration) -> Self {
        Self {
            timers: Minimums::only(timer, minimum),
            look: Some(Duration::from_millis(10)),
            ..Self::default()
        }
    }

    pub fn reduce_fully(&self) {
        self.set(Effect::ReduceTimeouts, FULL);
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
