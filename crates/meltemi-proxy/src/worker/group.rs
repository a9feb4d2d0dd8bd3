//! All workers, as the main thread sees them.

use super::bind::{self, Needed};
use super::limit::ConnectionLimit;
use super::listeners::BindKey;
use super::thread::{self, Order, Plan};
use crate::hot_restart::Sockets;
use crate::model::{IpPrefix, Snapshot};
use crate::net::HostSockets;
use crate::options::Publish;
use crate::overload::Levels;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

pub use super::bind::BindFailure;

/// After a failed bind, the next attempt.
const BIND_AGAIN: Duration = Duration::from_secs(2);

/// What the workers are to be.
pub struct Group {
    pub count: usize,
    /// The workload's namespace; `None` stays in the process's own.
    pub namespace: Option<OwnedFd>,
    pub mesh: Vec<IpPrefix>,
    pub publish: Option<Publish>,
    pub max_connections: u32,
    pub overload: Arc<Levels>,
    /// Sockets of a predecessor, and duplicates for a successor.
    pub sockets: Sockets,
    /// From the change of a listener to closing the connections that it left over.
    pub listener_drain: Duration,
}

/// The running workers. Dropping it ends them and waits for their threads.
pub struct Workers {
    handle: Handle,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// Orders to all workers; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    orders: Arc<Vec<mpsc::UnboundedSender<Order>>>,
    limit: ConnectionLimit,
    sockets: Sockets,
    failures: watch::Receiver<Arc<[BindFailure]>>,
    /// Generation that every worker has been given.
    applied: watch::Receiver<u64>,
}

impl Workers {
    /// Starts the threads and a task that feeds them from `snapshots`. Call it inside a
    /// `LocalSet` on the main thread, which stays in the host's namespace.
    ///
    /// # Errors
    /// A thread cannot be started or cannot join the namespace.
    pub fn start(group: Group, snapshots: watch::Receiver<Arc<Snapshot>>) -> io::Result<Self> {
        let limit = ConnectionLimit::new(group.max_connections);
        let mut orders = Vec::new();
        let mut threads = Vec::new();
        for index in 0..group.count.max(1) {
            let namespace = match &group.namespace {
                Some(namespace) => Some((namespace.try_clone()?, HostSockets::start())),
                None => None,
            };
            let plan = Plan {
                index,
                namespace,
                mesh: group.mesh.clone(),
                limit: limit.clone(),
                overload: group.overload.clone(),
                listener_drain: group.listener_drain,
            };
            let (sender, receiver) = mpsc::unbounded_channel();
            let (started, result) = std::sync::mpsc::channel();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    thread::run(plan, receiver, |result| {
                        // The starter waits for exactly this.
                        let _ = started.send(result);
                    });
                })?;
            result.recv().unwrap_or_else(|_| {
                Err(io::Error::other("the worker's thread ended at its start"))
            })?;
            orders.push(sender);
            threads.push(thread);
        }
        let (failures_out, failures) = watch::channel(Arc::from([]));
        let (applied_out, applied) = watch::channel(0);
        let orders = Arc::new(orders);
        let sockets = group.sockets.clone();
        let feeder = Feeder {
            group,
            orders: Arc::downgrade(&orders),
            have: HashSet::new(),
            failures: failures_out,
            applied: applied_out,
        };
        tokio::task::spawn_local(feeder.run(snapshots));
        Ok(Self {
            handle: Handle {
                orders,
                limit,
                sockets,
                failures,
                applied,
            },
            threads,
        })
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the workers with all that they still do, and waits for their threads.
    pub fn stop(self) {
        // The feeder and the admin API may hold handles: tell the threads themselves.
        for orders in self.handle.orders.iter() {
            let _ = orders.send(Order::End);
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
    }
}

impl Handle {
    /// Asks connections to end, all or those of inbound listeners; with a time, those that
    /// are left are closed then.
    pub fn drain(&self, time: Option<Duration>, inbound_only: bool) {
        self.tell(|| Order::Drain { time, inbound_only });
    }

    /// Stops accepting connections.
    pub fn close_listeners(&self) {
        self.sockets.close();
        self.tell(|| Order::Close);
    }

    /// Downstream connections being served.
    pub fn active_connections(&self) -> u32 {
        self.limit.active()
    }

    /// Listeners that could not be bound, as of now; watch it to follow.
    pub fn bind_failures(&self) -> watch::Receiver<Arc<[BindFailure]>> {
        self.failures.clone()
    }

    /// The generation of the snapshot that workers have been given with its sockets.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }

    fn tell(&self, order: impl Fn() -> Order) {
        for orders in self.orders.iter() {
            // A worker that has ended has nothing left to do.
            let _ = orders.send(order());
        }
    }
}

/// Turns snapshots into sockets and orders.
struct Feeder {
    group: Group,
    orders: std::sync::Weak<Vec<mpsc::UnboundedSender<Order>>>,
    have: HashSet<BindKey>,
    failures: watch::Sender<Arc<[BindFailure]>>,
    applied: watch::Sender<u64>,
}

impl Feeder {
    async fn run(mut self, mut snapshots: watch::Receiver<Arc<Snapshot>>) {
        loop {
            let snapshot = snapshots.borrow_and_update().clone();
            if !self.apply(&snapshot) {
                return;
            }
            let failed = !self.failures.borrow().is_empty();
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(BIND_AGAIN), if failed => {}
            }
        }
    }

    /// False when the workers are gone.
    fn apply(&mut self, snapshot: &Arc<Snapshot>) -> bool {
        let Some(orders) = self.orders.upgrade() else {
            return false;
        };
        let (needed, mut failures) = bind::needed(snapshot, self.group.publish.as_ref());
        self.have.retain(|key| {
            let stays = needed.iter().any(|need| need.key == *key);
            if !stays {
                self.group.sockets.forget(&key.socket());
            }
            stays
        });
        let mut sockets: Vec<Vec<(BindKey, std::net::TcpListener)>> =
            orders.iter().map(|_| Vec::new()).collect();
        for need in &needed {
            if self.have.contains(&need.key) {
                continue;
            }
            match self.bind(need, orders.len()) {
                Ok(made) => {
                    self.have.insert(need.key);
                    let workers = orders.len();
                    for (index, socket) in made.into_iter().enumerate() {
                        sockets[index % workers].push((need.key, socket));
                    }
                }
                Err(failure) => failures.push(failure),
            }
        }
        self.report(failures);
        for (orders, sockets) in orders.iter().zip(sockets) {
            let _ = orders.send(Order::Apply {
                snapshot: snapshot.clone(),
                sockets,
            });
        }
        self.applied.send_replace(snapshot.generation);
        true
    }

    fn bind(&self, need: &Needed, count: usize) -> Result<Vec<std::net::TcpListener>, BindFailure> {
        let namespace = self.group.namespace.as_ref().map(AsFd::as_fd);
        bind::bind(need, namespace, count, &self.group.sockets)
    }

    fn report(&self, failures: Vec<BindFailure>) {
        if **self.failures.borrow() == *failures {
            return;
        }
        for failure in &failures {
            tracing::error!("{failure}; trying again every {} s", BIND_AGAIN.as_secs());
        }
        self.failures.send_replace(failures.into());
    }
}
