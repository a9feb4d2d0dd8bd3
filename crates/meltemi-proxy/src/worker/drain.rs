//! Telling connections that they should end.

use slab::Slab;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;
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
    waiting: Waiting,
    /// Whatever is true of it is true here.
    parent: Option<DrainSignal>,
}

/// Who waits for a signal, its parents or its children: all are woken by a change of any of them, and look
/// whether it concerns them. A connection is polled many times a request, and waits with one entry.
type Waiting = Rc<RefCell<Slab<Waker>>>;

impl Default for DrainSignal {
    fn default() -> Self {
        Self::new()
    }
}

impl DrainSignal {
    pub fn new() -> Self {
        Self::with_parent(None)
    }

    /// A signal that also fires when this one does.
    pub fn child(&self) -> Self {
        Self::with_parent(Some(self.clone()))
    }

    fn with_parent(parent: Option<DrainSignal>) -> Self {
        Self(Rc::new(State {
            draining: Cell::new(false),
            deadline: Cell::new(None),
            waiting: match &parent {
                Some(parent) => parent.0.waiting.clone(),
                None => Waiting::default(),
            },
            parent,
        }))
    }

    pub fn is_draining(&self) -> bool {
        self.0.draining.get() || self.0.parent.as_ref().is_some_and(DrainSignal::is_draining)
    }

    /// When the connection is closed whatever it does; `None` while nothing forces it.
    pub fn deadline(&self) -> Option<Instant> {
        let own = self.0.deadline.get();
        let above = self.0.parent.as_ref().and_then(DrainSignal::deadline);
        own.into_iter().chain(above).min()
    }

    /// Starts draining, without a deadline.
    pub fn start(&self) {
        self.0.draining.set(true);
        for (_, waker) in self.0.waiting.borrow().iter() {
            waker.wake_by_ref();
        }
    }

    /// Starts draining; what is left after `time` is closed. The earliest deadline holds.
    pub fn start_with_deadline(&self, time: Duration) {
        let deadline = Instant::now() + time;
        if self.0.deadline.get().is_none_or(|known| deadline < known) {
            self.0.deadline.set(Some(deadline));
        }
        self.start();
    }

    /// Resolves when the connection should close gracefully; cancel-safe.
    pub async fn drained(&self) {
        self.until(|| self.is_draining().then_some(())).await;
    }

    /// Resolves when the time to close gracefully is over; cancel-safe.
    pub async fn expired(&self) {
        let mut known = self.until(|| self.deadline()).await;
        while Instant::now() < known {
            // An earlier deadline may be set meanwhile.
            let earlier = self.until(|| self.deadline().filter(|deadline| *deadline < known));
            tokio::select! {
                () = tokio::time::sleep_until(known) => return,
                deadline = earlier => known = deadline,
            }
        }
    }

    /// Waits, change by change, until there is an answer.
    async fn until<T>(&self, answer: impl Fn() -> Option<T>) -> T {
        let mut entry = Entry {
            waiting: &self.0.waiting,
            key: None,
        };
        poll_fn(|cx| match answer() {
            Some(found) => Poll::Ready(found),
            None => {
                entry.wake(cx.waker());
                Poll::Pending
            }
        })
        .await
    }
}

/// A place among those who wait.
struct Entry<'a> {
    waiting: &'a Waiting,
    key: Option<usize>,
}

impl Entry<'_> {
    /// Wakes this one at a change.
    fn wake(&mut self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        match self.key {
            Some(key) => waiting[key].clone_from(waker),
            None => self.key = Some(waiting.insert(waker.clone())),
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.waiting.borrow_mut().remove(key);
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

    #[tokio::test]
    async fn a_child_follows_its_parent_and_not_the_other_way() {
        let parent = DrainSignal::new();
        let (first, second) = (parent.child(), parent.child());
        first.start();
        assert!(first.is_draining() && !second.is_draining() && !parent.is_draining());
        let waiting = second.expired();
        let starting = async { parent.start_with_deadline(Duration::from_millis(1)) };
        tokio::join!(waiting, first.expired(), starting);
        assert!(second.is_draining());
    }
}
