//! Sockets of the host's namespace for workers that live in another one.
//!
//! A task on the main thread, which never leaves the host's namespace, keeps a few
//! unconnected sockets ready in a bounded channel a worker. A worker takes one without
//! waiting as a rule; the channel's bound is the bound on sockets made ahead.

use super::sockets;
use socket2::{Domain, Socket};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use tokio::sync::mpsc;

/// Ready sockets a worker (each costs a descriptor, not memory worth counting).
const READY_V4: usize = 4;
const READY_V6: usize = 1;

/// A worker's supply; `Send`, so that it can travel to the worker's thread.
pub struct HostSockets {
    v4: mpsc::Receiver<io::Result<Socket>>,
    v6: mpsc::Receiver<io::Result<Socket>>,
}

/// The supply in the worker's hands.
#[derive(Clone)]
pub(super) struct Supply(Rc<[tokio::sync::Mutex<mpsc::Receiver<io::Result<Socket>>>; 2]>);

impl HostSockets {
    /// Starts supplying. Call it on the runtime of a thread in the host's namespace: its
    /// tasks end when the supply is dropped.
    pub fn start() -> Self {
        Self {
            v4: supply(Domain::IPV4, READY_V4),
            v6: supply(Domain::IPV6, READY_V6),
        }
    }

    pub(super) fn into_supply(self) -> Supply {
        Supply(Rc::new([
            tokio::sync::Mutex::new(self.v4),
            tokio::sync::Mutex::new(self.v6),
        ]))
    }
}

fn supply(domain: Domain, ready: usize) -> mpsc::Receiver<io::Result<Socket>> {
    let (sender, receiver) = mpsc::channel(ready);
    tokio::task::spawn_local(async move {
        // A failed attempt (no descriptors left) is handed out as such, and the next one is
        // made when it was taken: the taker's pace bounds the attempts.
        while let Ok(permit) = sender.reserve().await {
            permit.send(sockets::tcp(domain));
        }
    });
    receiver
}

impl Supply {
    pub(super) async fn take(&self, domain: Domain) -> io::Result<Socket> {
        let receiver = &self.0[usize::from(domain == Domain::IPV6)];
        match receiver.lock().await.recv().await {
            Some(socket) => socket,
            None => Err(io::Error::other("the supply of host sockets has ended")),
        }
    }
}

thread_local! {
    /// Marking needs CAP_NET_ADMIN: after the first refusal it is not tried again.
    static MAY_MARK: RefCell<bool> = const { RefCell::new(true) };
}

/// Marks the socket if the process may.
pub(super) fn mark_if_allowed(socket: &Socket) {
    MAY_MARK.with_borrow_mut(|may| {
        if *may && let Err(error) = sockets::mark(socket) {
            tracing::warn!(
                %error,
                "cannot mark the proxy's own connections (SO_MARK needs CAP_NET_ADMIN); capture rules must exclude this process by user id"
            );
            *may = false;
        }
    });
}
