//! Telling connections that they should end.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Resolves when a connection should come to its end: its listener was removed or changed
/// its address, its filter chain was replaced, or the process is ending.
///
/// "Should" is graceful: HTTP finishes the exchange and says `Connection: close` or GOAWAY.
/// What is still there at [`DrainSignal::deadline`] is closed by whoever spawned it.
#[derive(Clone)]
pub struct DrainSignal(Rc<State>);

struct State {
    draining: Cell<bool>,
    deadline: Cell<Option<Instant>>,
    notify: Notify,
}

impl Default for DrainSignal {
    fn default() -> Self {
        Self::new()
    }
}

impl DrainSignal {
    pub fn new() -> Self {
        Self(Rc::new(State {
            draining: Cell::new(false),
            deadline: Cell::new(None),
            notify: Notify::new(),
        }))
    }

    pub fn is_draining(&self) -> bool {
        self.0.draining.get()
    }

    /// When the connection is closed whatever it does; `None` while nothing forces it.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get()
    }

    /// Starts draining, without a deadline.
    pub fn start(&self) {
        self.0.draining.set(true);
        self.0.notify.notify_waiters();
    }

    /// Starts draining; what is left after `time` is closed. The earliest deadline holds.
    pub fn start_with_deadline(&self, time: Duration) {
        let deadline = Instant::now() + time;
        if self.0.deadline.get().is_none_or(|known| deadline < known) {
            self.0.deadline.set(Some(deadline));
        }
        self.start();
    }

    /// Starts draining as the other signal does.
    pub(super) fn follow(&self, other: &DrainSignal) {
        self.0.deadline.set(other.deadline());
        self.start();
    }

    /// Resolves when the connection should close gracefully; cancel-safe.
    pub async fn drained(&self) {
        self.wait(|state| state.draining.get()).await;
    }

    /// Resolves when the time to close gracefully is over; cancel-safe.
    pub async fn expired(&self) {
        self.wait(|state| state.deadline.get().is_some()).await;
        while let Some(deadline) = self.0.deadline.get()
            && Instant::now() < deadline
        {
            // An earlier deadline may be set meanwhile: that notifies.
            let changed = self.0.notify.notified();
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => {}
                () = changed => {}
            }
        }
    }

    async fn wait(&self, ready: impl Fn(&State) -> bool) {
        loop {
            // Registered before the test: a start in between is not lost.
            let notified = self.0.notify.notified();
            let mut notified = std::pin::pin!(notified);
            notified.as_mut().enable();
            if ready(&self.0) {
                return;
            }
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn draining_resolves_waiters_and_the_earliest_deadline_follows() {
        let drain = DrainSignal::new();
        let waiter = drain.clone();
        let time = Duration::from_millis(30);
        let waiting = async {
            waiter.drained().await;
            let started = Instant::now();
            waiter.expired().await;
            assert!(started.elapsed() < Duration::from_secs(40));
        };
        let starting = async {
            assert!(!drain.is_draining());
            drain.start_with_deadline(Duration::from_secs(50));
            tokio::task::yield_now().await;
            drain.start_with_deadline(time);
            drain.start_with_deadline(Duration::from_secs(60));
        };
        tokio::join!(waiting, starting);
        drain.drained().await;
        drain.expired().await;
    }
}
