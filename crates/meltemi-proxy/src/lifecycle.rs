//! The process's end: signals, draining, and what the admin API may ask for.

use crate::hot_restart::{Sockets, Succeeded};
use crate::telemetry;
use crate::worker::Handle;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// How often the number of connections is looked at while draining.
const LOOK: Duration = Duration::from_millis(20);

/// Wishes about the process's life; cheap to clone, of the main thread.
#[derive(Clone, Default)]
pub struct Control(Rc<State>);

#[derive(Default)]
struct State {
    failed: Cell<bool>,
    draining: Cell<bool>,
    quit: Notify,
    why: RefCell<Option<&'static str>>,
}

impl Control {
    /// `/quitquitquit`: end now, in order.
    pub fn quit(&self) {
        *self.0.why.borrow_mut() = Some("asked by /quitquitquit");
        self.0.quit.notify_one();
    }

    /// `/healthcheck/fail` and `/healthcheck/ok`.
    pub fn fail_health(&self, fail: bool) {
        self.0.failed.set(fail);
    }

    /// `/drain_listeners`: connections end gracefully; without `graceful` no new ones are
    /// accepted from now on.
    pub fn drain_listeners(&self, workers: &Handle, graceful: bool, inbound_only: bool) {
        workers.drain(None, inbound_only);
        if !graceful {
            workers.close_listeners();
        }
    }

    /// Why the proxy should get no traffic, if so.
    pub fn unhealthy(&self) -> Option<&'static str> {
        if self.0.draining.get() {
            Some("draining: the process is ending")
        } else if self.0.failed.get() {
            Some("failed by /healthcheck/fail")
        } else {
            None
        }
    }
}

async fn succeeded(successor: Option<oneshot::Receiver<Succeeded>>) -> Succeeded {
    if let Some(successor) = successor
        && let Ok(succeeded) = successor.await
    {
        return succeeded;
    }
    std::future::pending().await
}

/// Waits for the end to be wanted, or for a successor, and drains: new connections are still served while old
/// ones end, until none is left or the time is over.
///
/// # Errors
/// Signals cannot be received.
pub async fn until_end(
    control: &Control,
    workers: &Handle,
    drain_time: Duration,
    successor: Option<oneshot::Receiver<Succeeded>>,
    sockets: &Sockets,
) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining for up to {drain_time:?}"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining for up to {drain_time:?}"),
        () = control.0.quit.notified() => {
            tracing::info!(why = control.0.why.borrow().unwrap_or_default(), "ending");
            return Ok(());
        }
        succeeded = succeeded(successor) => {
            tracing::info!("a new process has taken over: draining for up to {drain_time:?}");
            sockets.hand_over();
            workers.close_listeners();
            succeeded.confirm();
        }
    }
    control.0.draining.set(true);
    telemetry::set_draining();
    workers.drain(Some(drain_time), false);
    let idle = async {
        let deadline = Instant::now() + drain_time;
        let serves = || {
            let own = sockets.are_handed_over() && !sockets.clients.is_empty();
            own || workers.active_connections() > 0
        };
        while serves() && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        workers.close_listeners();
    };
    tokio::select! {
        () = idle => tracing::info!(left = workers.active_connections(), "drained"),
        _ = terminate.recv() => tracing::warn!(left = workers.active_connections(), "second signal: ending now"),
        _ = interrupt.recv() => tracing::warn!(left = workers.active_connections(), "second signal: ending now"),
        () = control.0.quit.notified() => {}
    }
    Ok(())
}
