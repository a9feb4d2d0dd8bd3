//! Accepting on one listening socket.

use super::limit::ConnectionLimit;
use super::{ListenerStates, Worker};
use crate::listener::{self, Accepted};
use crate::model::Listener;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Connections accepted in a row before the worker's other tasks get a turn.
const BURST: u32 = 16;
/// Pause when the process or the machine has no descriptors or memory left: trying again
/// at once would only burn the CPU that could free some.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// A listening socket in a worker's hands. Dropping it stops accepting, after the
/// connections that the kernel has completed already.
pub(super) struct Acceptor {
    listener: Rc<RefCell<Arc<Listener>>>,
    stop: Rc<Notify>,
}

impl Acceptor {
    /// Starts accepting. `published_for` as in [`Accepted`].
    pub fn start(
        socket: TcpListener,
        published_for: Option<SocketAddr>,
        listener: Arc<Listener>,
        worker: &Rc<Worker>,
        states: &Rc<ListenerStates>,
        limit: ConnectionLimit,
    ) -> Self {
        let acceptor = Self {
            listener: Rc::new(RefCell::new(listener)),
            stop: Rc::new(Notify::new()),
        };
        let accepting = Accepting {
            published_for,
            listener: acceptor.listener.clone(),
            worker: worker.clone(),
            states: states.clone(),
            limit,
        };
        let stop = acceptor.stop.clone();
        worker.spawn(async move {
            tokio::select! {
                () = accepting.run(&socket) => {}
                () = stop.notified() => accepting.take_the_rest(socket),
            }
        });
        acceptor
    }

    /// New connections use this listener from now on.
    pub fn set_listener(&self, listener: Arc<Listener>) {
        *self.listener.borrow_mut() = listener;
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // Stores a permit when the task is not waiting at this moment.
        self.stop.notify_one();
    }
}

struct Accepting {
    published_for: Option<SocketAddr>,
    listener: Rc<RefCell<Arc<Listener>>>,
    worker: Rc<Worker>,
    states: Rc<ListenerStates>,
    limit: ConnectionLimit,
}

impl Accepting {
    async fn run(&self, socket: &TcpListener) {
        let mut burst = 0;
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = self.worker.overload.stopped() => {
                    self.worker.overload.resumed().await;
                    continue;
                }
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.serve(stream, peer);
                    burst += 1;
                    if burst == BURST {
                        burst = 0;
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) if is_exhausted(&error) => {
                    tracing::warn!(
                        listener = %self.listener.borrow().name, %error,
                        "accepting pauses for {} ms: raise the limit of open files (ulimit -n) or lower the load",
                        EXHAUSTED.as_millis()
                    );
                    tokio::time::sleep(EXHAUSTED).await;
                }
                // The client went away between its handshake and now.
                Err(error) => tracing::debug!(%error, "accept failed"),
            }
        }
    }

    /// Connections that wait in the kernel's queue would be reset by closing the socket.
    fn take_the_rest(&self, socket: TcpListener) {
        let Ok(socket) = socket.into_std() else {
            return;
        };
        while let Ok((stream, peer)) = socket.accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            if let Ok(stream) = TcpStream::from_std(stream) {
                self.serve(stream, peer);
            }
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let listener = self.listener.borrow().clone();
        if self.worker.overload.rejects_connection() {
            self.states.of(&listener).stats.overload_reject.inc();
            return; // closes it
        }
        let Some(place) = self.limit.take() else {
            self.states.of(&listener).stats.overflow.inc();
            return; // closes it
        };
        let accepted = Accepted {
            peer,
            published_for: self.published_for,
        };
        let (worker, states) = (self.worker.clone(), self.states.clone());
        self.worker.spawn(async move {
            listener::serve(stream, accepted, listener, worker, states).await;
            drop(place);
        });
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
