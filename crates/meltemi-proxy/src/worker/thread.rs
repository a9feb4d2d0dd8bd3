//! A worker's thread: it follows the orders of the main thread and nothing else.

use super::accept::Acceptor;
use super::limit::ConnectionLimit;
use super::listeners::{Acceptors, BindKey};
use super::{ListenerStates, Worker};
use crate::export;
use crate::model::{IpPrefix, Snapshot};
use crate::net::{Connector, HostSockets, netns};
use crate::overload::Levels;
use crate::upstream::{HealthChecker, OutlierWatch};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc;

/// What the main thread tells a worker.
pub(super) enum Order {
    /// Put the snapshot in force and accept on the new sockets.
    Apply {
        snapshot: Arc<Snapshot>,
        sockets: Vec<(BindKey, std::net::TcpListener)>,
    },
    /// Ask connections to end; with a time, close what is left then. New connections are
    /// served and asked to end as well.
    Drain {
        time: Option<Duration>,
        inbound_only: bool,
    },
    /// Stop accepting.
    Close,
    /// End with everything.
    End,
}

/// What a worker is made of. Everything here may cross threads.
pub(super) struct Plan {
    pub index: usize,
    /// Its own descriptor of the workload's namespace, and the host's sockets.
    pub namespace: Option<(OwnedFd, HostSockets)>,
    pub mesh: Vec<IpPrefix>,
    pub limit: ConnectionLimit,
    pub overload: Arc<Levels>,
    pub listener_drain: Duration,
}

/// Runs the worker on the calling thread until the orders end.
pub(super) fn run(
    plan: Plan,
    orders: mpsc::UnboundedReceiver<Order>,
    started: impl FnOnce(io::Result<()>),
) {
    let connector = match plan.namespace {
        None => Ok(Connector::own()),
        Some((namespace, host)) => {
            use std::os::fd::AsFd;
            netns::enter(namespace.as_fd()).map(|()| Connector::in_namespace(host, plan.mesh))
        }
    };
    // A local runtime schedules the worker's tasks itself; a `LocalSet` on top of a runtime
    // would be a second queue, and a second wake-up, for each of them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    let (connector, runtime) = match (connector, runtime) {
        (Ok(connector), Ok(runtime)) => (connector, runtime),
        (Err(error), _) | (_, Err(error)) => return started(Err(error)),
    };
    started(Ok(()));
    runtime.block_on(async {
        let (index, overload) = (plan.index, plan.overload);
        let worker = Worker::new(index, Snapshot::default(), connector, overload);
        let worker = Rc::new(worker);
        worker.spawn(export::run(worker.clone()));
        // One worker looks for all: what it finds is shared.
        let watch = (plan.index == 0).then(|| Watch {
            health: HealthChecker::new(worker.connector.clone()),
            outliers: OutlierWatch::default(),
        });
        follow(worker, watch, plan.limit, plan.listener_drain, orders).await;
    });
    // Connections that are left end with the runtime's tasks.
    drop(runtime);
}

/// What is looked at whether or not there are requests.
struct Watch {
    health: HealthChecker,
    outliers: OutlierWatch,
}

async fn follow(
    worker: Rc<Worker>,
    mut watch: Option<Watch>,
    limit: ConnectionLimit,
    listener_drain: Duration,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let states = Rc::new(ListenerStates::default());
    let mut acceptors = Acceptors::default();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Apply { snapshot, sockets } => {
                // The snapshot first: a connection must find its listener and clusters.
                worker.set_snapshot((*snapshot).clone());
                acceptors.retain(&snapshot);
                states.retain(&snapshot, listener_drain);
                worker.upstreams.retain(&snapshot);
                if let Some(watch) = &mut watch {
                    watch.health.apply(&snapshot);
                    watch.outliers.apply(&snapshot);
                }
                for (key, socket) in sockets {
                    let listener = snapshot.listeners.by_address.get(&key.address).cloned();
                    let socket = TcpListener::from_std(socket);
                    match (listener, socket) {
                        (Some(listener), Ok(socket)) => {
                            let published_for = key.published.map(|_| key.address);
                            let acceptor = Acceptor::start(
                                socket,
                                published_for,
                                listener,
                                &worker,
                                &states,
                                limit.clone(),
                            );
                            acceptors.insert(key, acceptor);
                        }
                        (_, Err(error)) => {
                            tracing::error!(address = %key.address, %error, "cannot poll a listening socket")
                        }
                        (None, Ok(_)) => {}
                    }
                }
            }
            Order::Drain { time, inbound_only } => states.drain(time, inbound_only),
            Order::Close => acceptors.close(),
            Order::End => return,
        }
    }
}
