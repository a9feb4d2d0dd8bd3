//! The control plane's process: started, waited for, started again.

use super::backoff::Backoff;
use super::commands;
use super::context::{Context, open_log, own_environment};
use crate::events::Event;
use crate::sandbox::{Role, Spawn};
use crate::settings::LocalMesh;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Between two looks at a starting control plane.
const POLL: Duration = Duration::from_millis(20);
/// Bound on its own graceful end.
const GRACE: Duration = Duration::from_secs(5);

/// Runs it until `stop`; `ready` follows whether its sockets answer.
pub(crate) async fn run(
    ctx: Arc<Context>,
    settings: Arc<LocalMesh>,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new();
    let mut restarts = 0;
    let log = ctx.paths.state.join("logs").join("control-plane.log");
    loop {
        let started = async {
            let (out, err) = open_log(&log).map_err(|error| error.to_string())?;
            let spawn = Spawn {
                workload: None,
                role: Role::System,
                argv: commands::control_plane(&ctx, &settings),
                env: own_environment(),
                cwd: None,
            };
            ctx.processes
                .spawn(spawn, out, err, Vec::new())
                .await
                .map_err(|error| error.to_string())
        };
        let why = match started.await {
            Ok(mut process) => {
                backoff.started();
                tokio::select! {
                    ended = process.wait() => format!("ended with {ended}"),
                    never = answering(&ctx, &ready, restarts) => match never {},
                    () = stop.cancelled() => {
                        process.stop(GRACE).await;
                        return;
                    }
                }
            }
            Err(problem) => problem,
        };
        ready.send_replace(false);
        restarts += 1;
        let told = last_error(&log).map_or_else(String::new, |told| format!(" ({told})"));
        let why = format!("{why}{told}; its log: {}", log.display());
        ctx.events.send(Event::Restarting {
            what: "control-plane".into(),
            why,
        });
        tokio::select! {
            () = sleep(backoff.ended()) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// The error that its process ended with, where it wrote one.
fn last_error(log: &Path) -> Option<String> {
    let text = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rfind(|line| !line.trim().is_empty())?;
    line.strip_prefix("error: ").map(str::to_owned)
}

/// Waits until both sockets accept, says so, and then stays.
async fn answering(ctx: &Context, ready: &watch::Sender<bool>, restarts: u32) -> Infallible {
    for socket in ["xds.sock", "api.sock"] {
        while UnixStream::connect(ctx.paths.in_run(socket)).await.is_err() {
            sleep(POLL).await;
        }
    }
    ready.send_replace(true);
    ctx.events.send(Event::ControlPlane { restarts });
    std::future::pending().await
}
