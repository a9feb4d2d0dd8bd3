//! The deadlines of one exchange behind a single timer.
//!
//! The timer is taken when the exchange first has to wait and is moved only when it fires
//! or an earlier deadline appears, so that activity costs nothing. It may fire for an exchange
//! that has ended: then it is looked at, and set for the one that has it now.

use super::downstream::Downstream;
use super::record::Record;
use crate::model::HttpTimeouts;
use crate::overload::Timer as Reduced;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    Global,
    PerTry,
    PerTryIdle,
    StreamIdle,
    MaxStream,
    Request,
}

/// All `None`: wait for ever.
#[derive(Default)]
pub(crate) struct Watchdog {
    /// From the request's end to the answer's end.
    pub global: Option<Duration>,
    /// From the request's end (or the attempt's start when later) to the answer's head.
    pub per_try: Option<(Duration, Instant)>,
    pub per_try_idle: Option<Duration>,
    pub idle: Option<Duration>,
    pub max_stream: Option<Instant>,
    /// Until the request is received in full.
    pub request: Option<Instant>,
    /// Taken at the first wait.
    pub timer: Option<Timer>,
}

/// Timers that a connection keeps for its next exchanges: as they are polled by the same task and
/// have most often the same limits, they stay where they are in the runtime's wheel.
#[derive(Default)]
pub(crate) struct Timers(RefCell<Vec<Pin<Box<Sleep>>>>);

impl Timers {
    /// As many as are kept of streams that run at once.
    const KEPT: usize = 16;
}

/// A timer of a connection, in use by one exchange.
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    downstream: Rc<Downstream>,
}

impl Timer {
    /// It fires at `at` or earlier.
    fn take(downstream: &Rc<Downstream>, at: Instant) -> Self {
        let kept = downstream.timers.0.borrow_mut().pop();
        Self {
            sleep: Some(kept.unwrap_or_else(|| Box::pin(tokio::time::sleep_until(at.into())))),
            downstream: downstream.clone(),
        }
    }

    fn sleep(&mut self) -> Pin<&mut Sleep> {
        self.sleep
            .as_mut()
            .expect("given back in drop only")
            .as_mut()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut kept = self.downstream.timers.0.borrow_mut();
        if kept.len() < Timers::KEPT {
            kept.extend(self.sleep.take());
        }
    }
}

impl Watchdog {
    /// The connection manager's limits, for a request that is not forwarded yet.
    pub fn of_request(timeouts: &HttpTimeouts, started: Instant) -> Self {
        Self {
            idle: timeouts.stream_idle,
            max_stream: timeouts.max_stream_duration.map(|limit| started + limit),
            request: timeouts.request.map(|limit| started + limit),
            ..Self::default()
        }
    }

    /// The head has arrived: limits of the attempt end.
    pub fn head_arrived(&mut self) {
        self.per_try = None;
        self.per_try_idle = None;
    }

    fn earliest(&self, record: &Record) -> Option<(Instant, Expired)> {
        let ended = record.request_complete.get();
        let activity = record.activity.get();
        let overload = &record.downstream.worker.overload;
        [
            ended
                .zip(self.global)
                .map(|(at, limit)| (at + limit, Expired::Global)),
            ended
                .zip(self.per_try)
                .map(|(at, (limit, from))| (at.max(from) + limit, Expired::PerTry)),
            self.per_try_idle
                .map(|limit| (activity + limit, Expired::PerTryIdle)),
            self.idle.map(|limit| {
                let limit = overload.reduced(Reduced::StreamIdle, limit);
                (activity + limit, Expired::StreamIdle)
            }),
            self.max_stream.map(|at| (at, Expired::MaxStream)),
            self.request
                .filter(|_| ended.is_none())
                .map(|at| (at, Expired::Request)),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }

    pub fn poll(&mut self, cx: &mut Context<'_>, record: &Record) -> Poll<Expired> {
        if record.request_complete.get().is_none() {
            *record.waker.borrow_mut() = Some(cx.waker().clone());
        }
        loop {
            let Some((at, what)) = self.earliest(record) else {
                return Poll::Pending;
            };
            let look = record.downstream.worker.overload.look_at(at);
            let timer = self
                .timer
                .get_or_insert_with(|| Timer::take(&record.downstream, look));
            let mut sleep = timer.sleep();
            if sleep.deadline() > tokio::time::Instant::from(look) {
                sleep.as_mut().reset(look.into());
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= at {
                return Poll::Ready(what);
            }
            sleep.reset(look.into());
        }
    }

    /// Runs a future until it is done or a limit is exceeded. It is pinned by the caller, whose
    /// own future would hold it twice otherwise.
    pub async fn guard<T>(
        &mut self,
        record: &Record,
        mut future: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Expired> {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            self.poll(cx, record).map(Err)
        })
        .await
    }
}
