//! Envoy's process: its start in the workload's namespace, its draining and its end.

use super::surfaces::Front;
use crate::Options;
use crate::net::netns;
use crate::run::RunError;
use crate::sys;
use http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// How often the number of connections is looked at while draining.
const LOOK: Duration = Duration::from_millis(50);
/// Bound on Envoy's end after its SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

pub struct Process(Child);

impl Process {
    /// Starts Envoy in the workload's namespace; it ends with us.
    pub fn start(program: &Path, bootstrap: &Path, options: &Options) -> Result<Self, RunError> {
        let mut command = Command::new(program);
        command
            .arg("--config-path")
            .arg(bootstrap)
            .args(["--concurrency", &options.concurrency.to_string()])
            .args(["--drain-time-s", &options.drain_time.as_secs().to_string()])
            .args(["--log-level", level(&options.log_level)])
            .arg("--disable-hot-restart")
            .kill_on_drop(true);
        for (option, value) in [
            ("--service-node", &options.service_node),
            ("--service-cluster", &options.service_cluster),
        ] {
            if let Some(value) = value {
                command.args([option, value]);
            }
        }
        let namespace = options
            .netns
            .as_ref()
            .map(|namespace| namespace.try_clone())
            .transpose()?;
        sys::before_exec(command.as_std_mut(), move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            match &namespace {
                Some(namespace) => netns::enter(namespace.as_fd()),
                None => Ok(()),
            }
        });
        let child = command
            .spawn()
            .map_err(|error| RunError::Envoy(format!("{}: {error}", program.display())))?;
        Ok(Self(child))
    }

    /// None once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.0.id()
    }

    /// Waits until it ends, or drains and ends it when we are told to.
    ///
    /// # Errors
    /// It ended by itself.
    pub async fn until_end(&mut self, front: &Front, drain_time: Duration) -> Result<(), RunError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            ended = self.0.wait() => return unwanted(ended?),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("draining for up to {drain_time:?}");
        tokio::select! {
            () = drain(front, drain_time) => {}
            _ = terminate.recv() => tracing::warn!("second signal: ending now"),
            _ = interrupt.recv() => tracing::warn!("second signal: ending now"),
            ended = self.0.wait() => return unwanted(ended?),
        }
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            // It may just have ended, which is what we want.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        if tokio::time::timeout(GRACE, self.0.wait()).await.is_err() {
            tracing::warn!("Envoy did not end within {GRACE:?}: killing it");
            self.0.kill().await?;
        }
        Ok(())
    }
}

fn unwanted(ended: ExitStatus) -> Result<(), RunError> {
    if ended.success() {
        // By `/quitquitquit`.
        return Ok(());
    }
    Err(RunError::Envoy(format!(
        "ended with {ended}; its own words are above"
    )))
}

/// New connections are still served while old ones end, until none is left or the time is
/// over.
async fn drain(front: &Front, drain_time: Duration) {
    front.set_draining();
    if let Err(error) = front
        .ask(Method::POST, "/drain_listeners?graceful&skip_exit")
        .await
    {
        tracing::warn!(%error, "Envoy was not told to drain");
    }
    let deadline = Instant::now() + drain_time;
    while Instant::now() < deadline {
        match front.connections().await {
            Some(0) => return,
            Some(_) | None => tokio::time::sleep(LOOK).await,
        }
    }
}

/// The level of a log filter's first word; Envoy names the same ones.
fn level(filter: &str) -> &str {
    match filter.split(',').next().unwrap_or_default() {
        "warn" => "warning",
        level @ ("trace" | "debug" | "error" | "off") => level,
        _ => "info",
    }
}
