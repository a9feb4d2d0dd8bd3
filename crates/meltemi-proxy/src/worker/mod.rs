//! A worker: one thread, one single-threaded runtime, everything a connection needs without
//! a lock. Connections are tasks of the worker that accepted them and never move.

mod accept;
mod bind;
mod drain;
mod group;
mod limit;
mod listeners;
mod thread;

pub use bind::can_listen;
pub use drain::DrainSignal;
pub use group::{BindFailure, Group, Handle, Workers};
pub use limit::ConnectionLimit;
pub use listeners::{ListenerState, ListenerStates};

use crate::clock;
use crate::model::Snapshot;
use crate::net::Connector;
use crate::overload::Levels;
use crate::upstream::Upstreams;
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// The state of one worker thread; used as `Rc<Worker>`.
pub struct Worker {
    /// 0-based.
    pub index: usize,
    snapshot: RefCell<Rc<Snapshot>>,
    pub upstreams: Upstreams,
    pub connector: Connector,
    /// What it does without while resources run short.
    pub overload: Arc<Levels>,
}

impl Worker {
    /// A worker of the calling thread, which is inside a `LocalSet`. [`Workers`] makes them;
    /// tests may.
    pub fn new(
        index: usize,
        snapshot: Snapshot,
        connector: Connector,
        overload: Arc<Levels>,
    ) -> Self {
        Self {
            index,
            snapshot: RefCell::new(Rc::new(snapshot)),
            upstreams: Upstreams::new(connector.clone(), overload.clone()),
            connector,
            overload,
        }
    }

    /// The configuration in force. Holding it pins it: take it once an exchange.
    pub fn snapshot(&self) -> Rc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// Puts another configuration in force for what starts from now on.
    pub fn set_snapshot(&self, snapshot: Snapshot) {
        *self.snapshot.borrow_mut() = Rc::new(snapshot);
    }

    /// Runs a future on this worker's thread. A panic in it ends that task alone.
    pub fn spawn<F: Future<Output = ()> + 'static>(&self, future: F) {
        tokio::task::spawn_local(future);
    }

    /// Milliseconds since the process started: the clock of `EndpointState::ejected_until`.
    pub fn now_ms(&self) -> u64 {
        millis_since_start()
    }
}

/// The moment that [`millis_since_start`] counts from: the first call of either.
pub fn process_start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Milliseconds since the process started, never 0 (0 means "never" where it is kept).
pub fn millis_since_start() -> u64 {
    clock::now().duration_since(process_start()).as_millis() as u64 + 1
}
