//! The timers of one downstream connection.

use crate::clock;
use crate::http::downstream::Downstream;
use crate::overload::Timer;
use crate::worker::DrainSignal;
use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A head must be complete within this time when `request_headers_timeout` is not set.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Looks at the timers are no closer together than this.
const MIN_PAUSE: Duration = Duration::from_millis(5);

/// What the connection's task must do next.
pub(super) enum Event<T> {
    Ended(T),
    Drain,
    Timer,
    HeadBegan,
}

/// When the head began that is not complete yet.
#[derive(Default)]
pub(super) struct HeadClock(Cell<Option<Instant>>);

impl HeadClock {
    pub fn set(&self, incomplete: bool) {
        if incomplete != self.0.get().is_some() {
            self.0.set(incomplete.then(Instant::now));
        }
    }

    fn since(&self) -> Option<Instant> {
        self.0.get()
    }
}

/// The timers of one connection, behind a single entry in the runtime's wheel.
pub(super) struct Timers {
    downstream: Rc<Downstream>,
    sleep: Pin<Box<tokio::time::Sleep>>,
    drain_ends: Option<Instant>,
    /// A peer that says nothing to the graceful end is not waited for any longer.
    leave_by: Option<Instant>,
    draining: bool,
    closing: bool,
    head_armed: bool,
}

impl Timers {
    pub fn new(downstream: &Rc<Downstream>) -> Self {
        let mut timers = Self {
            downstream: downstream.clone(),
            sleep: Box::pin(tokio::time::sleep(Duration::from_secs(3600))),
            drain_ends: None,
            leave_by: None,
            draining: false,
            closing: false,
            head_armed: false,
        };
        timers.arm(&HeadClock::default());
        timers
    }

    /// Runs the connection until something happens.
    pub async fn next<T>(
        &mut self,
        drain: &DrainSignal,
        clock: &HeadClock,
        mut connection: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Event<T> {
        let incomplete = clock.since().is_some();
        if incomplete && !self.head_armed {
            self.arm(clock);
        }
        self.head_armed = incomplete;
        let mut drained = pin!(drain.drained());
        let draining = self.draining;
        let armed = self.head_armed;
        let sleep = &mut self.sleep;
        let event = std::future::poll_fn(|cx| {
            if let Poll::Ready(result) = clock::in_poll(|| connection(cx)) {
                return Poll::Ready(Event::Ended(result));
            }
            if !draining && drained.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Drain);
            }
            if !armed && clock.since().is_some() {
                return Poll::Ready(Event::HeadBegan);
            }
            if sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Timer);
            }
            Poll::Pending
        })
        .await;
        match event {
            Event::Drain => {
                self.draining = true;
                self.drain_ends = Some(Instant::now() + self.downstream.manager.timeouts.drain);
                self.arm(clock);
            }
            Event::Timer => self.arm(clock),
            _ => {}
        }
        event
    }

    /// Sets the timer for the earliest thing that may be due.
    fn arm(&mut self, clock: &HeadClock) {
        let now = Instant::now();
        let timeouts = &self.downstream.manager.timeouts;
        let overload = &self.downstream.worker.overload;
        let mut next = now + Duration::from_secs(3600);
        if let Some(idle) = timeouts.connection_idle.filter(|_| !self.closing) {
            let since = match self.downstream.active.get() {
                0 => self.downstream.idle_since.get(),
                _ => now,
            };
            let idle = overload.reduced(Timer::ConnectionIdle, idle);
            next = next.min(overload.look_at(since + idle));
        }
        if let Some(limit) = timeouts.max_connection_duration.filter(|_| !self.closing) {
            let limit = overload.reduced(Timer::ConnectionMax, limit);
            next = next.min(overload.look_at(self.downstream.opened + limit));
        }
        if let Some(ends) = self.drain_ends {
            next = next.min(ends);
        }
        if let Some(leave) = self.leave_by {
            next = next.min(leave);
        }
        if let Some(since) = clock.since() {
            next = next.min(since + timeouts.request_headers.unwrap_or(HEAD_TIMEOUT));
        }
        self.sleep.as_mut().reset(next.max(now + MIN_PAUSE).into());
    }

    /// Whether the head that has begun should be complete.
    pub fn head_is_late(&self, clock: &HeadClock) -> bool {
        let limit = self
            .downstream
            .manager
            .timeouts
            .request_headers
            .unwrap_or(HEAD_TIMEOUT);
        clock.since().is_some_and(|since| since.elapsed() >= limit)
    }

    /// Whether the peer has had its time to agree to the connection's end. True once.
    pub fn farewell_is_over(&mut self) -> bool {
        self.leave_by
            .take_if(|leave| Instant::now() >= *leave)
            .is_some()
    }

    /// Whether the connection should finish what runs and close. True once.
    pub fn connection_is_over(&mut self) -> bool {
        let timeouts = &self.downstream.manager.timeouts;
        let overload = &self.downstream.worker.overload;
        let idle = self.downstream.active.get() == 0
            && timeouts.connection_idle.is_some_and(|limit| {
                let limit = overload.reduced(Timer::ConnectionIdle, limit);
                self.downstream.idle_since.get().elapsed() >= limit
            });
        let old = timeouts.max_connection_duration.is_some_and(|limit| {
            let limit = overload.reduced(Timer::ConnectionMax, limit);
            self.downstream.opened.elapsed() >= limit
        });
        let drained = self.drain_ends.is_some_and(|ends| Instant::now() >= ends);
        if drained {
            self.drain_ends = None;
        }
        if old {
            self.downstream.draining.set(true);
        }
        let closes = (idle || old || drained) && !std::mem::replace(&mut self.closing, true);
        if closes {
            self.leave_by = Some(Instant::now() + timeouts.drain);
        }
        if closes && old {
            self.downstream.stats.cx_max_duration_reached.inc();
        } else if closes && idle {
            self.downstream.stats.cx_idle_timeout.inc();
        }
        closes
    }
}
