//! What a worker knows of its listeners: sockets, counters and who must be drained.

use super::DrainSignal;
use super::accept::Acceptor;
use crate::listener::ListenerStats;
use crate::model::{Direction, FilterChain, Listener, Snapshot};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The state of every listener by name, bound or reached by hand-off.
#[derive(Default)]
pub struct ListenerStates {
    by_name: RefCell<HashMap<Box<str>, Rc<ListenerState>>>,
    /// Drains that were ordered, of all and of inbound listeners: a listener's first
    /// connection may come after them.
    ordered: RefCell<[Option<Ordered>; 2]>,
}

/// The strictest order to drain.
#[derive(Clone, Copy)]
struct Ordered {
    until: Option<Instant>,
}

/// Counters and drain signals of one listener on one worker.
pub struct ListenerState {
    pub stats: ListenerStats,
    inbound: bool,
    /// Fires when the listener is removed or the process ends.
    drain: DrainSignal,
    /// By the chain's hash.
    chains: RefCell<HashMap<u64, DrainSignal>>,
}

impl ListenerStates {
    pub fn of(&self, listener: &Listener) -> Rc<ListenerState> {
        let name = &*listener.name;
        let mut states = self.by_name.borrow_mut();
        if let Some(state) = states.get(name) {
            return state.clone();
        }
        let state = Rc::new(ListenerState {
            stats: ListenerStats::new(name),
            inbound: listener.direction == Direction::Inbound,
            drain: DrainSignal::new(),
            chains: RefCell::default(),
        });
        let [all, inbound] = *self.ordered.borrow();
        for ordered in all.iter().chain(inbound.iter().filter(|_| state.inbound)) {
            state.follow(*ordered);
        }
        states.insert(name.into(), state.clone());
        state
    }

    /// Drains what the snapshot no longer has: connections of a removed listener and of a
    /// replaced filter chain come to their end, and are closed when `time` is over. Policy
    /// that was tightened must not be outlived by a stream that never ends.
    pub fn retain(&self, snapshot: &Snapshot, time: Duration) {
        let listeners: HashMap<&str, &Arc<Listener>> = snapshot
            .listeners
            .all
            .iter()
            .map(|listener| (&*listener.name, listener))
            .collect();
        self.by_name.borrow_mut().retain(|name, state| {
            let Some(listener) = listeners.get(&**name) else {
                state.drain.start_with_deadline(time);
                return false;
            };
            let hashes: HashSet<u64> = chains(listener).map(|chain| chain.hash).collect();
            state.chains.borrow_mut().retain(|hash, drain| {
                let stays = hashes.contains(hash);
                if !stays {
                    drain.start_with_deadline(time);
                }
                stays
            });
            true
        });
    }

    /// Drains everything, or inbound listeners only.
    pub fn drain(&self, time: Option<Duration>, inbound_only: bool) {
        let place = &mut self.ordered.borrow_mut()[usize::from(inbound_only)];
        let until = time.map(|time| Instant::now() + time);
        let known = place.and_then(|ordered| ordered.until);
        let ordered = Ordered {
            until: until.into_iter().chain(known).min(),
        };
        *place = Some(ordered);
        for state in self.by_name.borrow().values() {
            if state.inbound || !inbound_only {
                state.follow(ordered);
            }
        }
    }
}

impl ListenerState {
    pub fn drain(&self) -> DrainSignal {
        self.drain.clone()
    }

    /// The signal of the connections of one chain; it follows the listener's, also when the
    /// chain is gone.
    pub fn drain_of_chain(&self, hash: u64) -> DrainSignal {
        let mut chains = self.chains.borrow_mut();
        chains
            .entry(hash)
            .or_insert_with(|| self.drain.child())
            .clone()
    }

    fn follow(&self, ordered: Ordered) {
        match ordered.until {
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                self.drain.start_with_deadline(left);
            }
            None => self.drain.start(),
        }
    }
}

fn chains(listener: &Listener) -> impl Iterator<Item = &Arc<FilterChain>> {
    let table = &listener.chains;
    table
        .chains
        .iter()
        .map(|(_, chain)| chain)
        .chain(table.default.as_ref())
}

/// Where a socket listens, and for which listener's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BindKey {
    /// The listener's own address.
    pub address: SocketAddr,
    /// The address in the host's namespace, for a published socket.
    pub published: Option<SocketAddr>,
}

/// A worker's sockets: one for each key, or more where a predecessor had more workers.
#[derive(Default)]
pub(super) struct Acceptors(Vec<(BindKey, Acceptor)>);

impl Acceptors {
    pub fn insert(&mut self, key: BindKey, acceptor: Acceptor) {
        self.0.push((key, acceptor));
    }

    /// Points sockets to their listeners in the snapshot, and closes those without one.
    pub fn retain(&mut self, snapshot: &Snapshot) {
        self.0.retain(|(key, acceptor)| {
            let bound = snapshot
                .listeners
                .by_address
                .get(&key.address)
                .filter(|listener| listener.bind);
            if let Some(listener) = bound {
                acceptor.set_listener(listener.clone());
            }
            bound.is_some()
        });
    }

    /// Stops accepting everywhere.
    pub fn close(&mut self) {
        self.0.clear();
    }
}
