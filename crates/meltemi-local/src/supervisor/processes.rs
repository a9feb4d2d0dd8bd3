//! Processes in the sandbox: started, signalled, waited for.

use crate::sandbox::{Ended, Sandbox, SandboxError, SandboxEvents, Spawn};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Ends are reported by pid, possibly before the caller has learned the pid.
enum Slot {
    Running(watch::Sender<Option<Ended>>),
    Ended(Ended),
}

type Table = Arc<Mutex<HashMap<i32, Slot>>>;

/// The processes of a sandbox.
#[derive(Clone)]
pub(crate) struct Processes {
    sandbox: Sandbox,
    table: Table,
}

impl Processes {
    /// Also starts the task that hands out ends; it resolves when the sandbox is gone.
    pub(crate) fn new(
        sandbox: Sandbox,
        mut events: SandboxEvents,
    ) -> (Self, tokio::task::JoinHandle<SandboxEvents>) {
        let table = Table::default();
        let ends = table.clone();
        let task = tokio::spawn(async move {
            while let Some((pid, ended)) = events.next().await {
                let mut table = lock(&ends);
                match table.remove(&pid) {
                    Some(Slot::Running(sender)) => {
                        sender.send_replace(Some(ended));
                    }
                    _ => {
                        table.insert(pid, Slot::Ended(ended));
                    }
                }
            }
            // Dropping the senders ends every wait.
            lock(&ends).clear();
            events
        });
        (Self { sandbox, table }, task)
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Starts a process. Not to be dropped half-way: the process would run unattended.
    pub(crate) async fn spawn(
        &self,
        spawn: Spawn,
        stdout: OwnedFd,
        stderr: OwnedFd,
        extra: Vec<OwnedFd>,
    ) -> Result<Process, SandboxError> {
        let pid = self.sandbox.spawn(spawn, stdout, stderr, extra).await?;
        let (sender, ended) = watch::channel(None);
        let mut table = lock(&self.table);
        if let Some(Slot::Ended(early)) = table.remove(&pid) {
            sender.send_replace(Some(early));
        } else {
            table.insert(pid, Slot::Running(sender));
        }
        Ok(Process {
            pid,
            ended,
            sandbox: self.sandbox.clone(),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process of the mesh. Dropping the handle leaves it running.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    ended: watch::Receiver<Option<Ended>>,
    sandbox: Sandbox,
}

impl Process {
    /// Waits for its end. When the whole sandbox is gone, it was killed.
    pub(crate) async fn wait(&mut self) -> Ended {
        match self.ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.unwrap_or(Ended::Signal(libc::SIGKILL)),
            Err(_) => Ended::Signal(libc::SIGKILL),
        }
    }

    /// Signals the process alone; errors mean that it is gone.
    pub(crate) async fn signal(&self, signal: i32) {
        if let Err(error) = self.sandbox.signal(self.pid, signal, false).await {
            tracing::debug!(pid = self.pid, signal, %error, "signal");
        }
    }

    /// SIGTERM, `grace` to end, then SIGKILL for it and its group.
    pub(crate) async fn stop(&mut self, grace: Duration) -> Ended {
        self.signal(libc::SIGTERM).await;
        if let Ok(ended) = tokio::time::timeout(grace, self.wait()).await {
            return ended;
        }
        if let Err(error) = self.sandbox.signal(self.pid, libc::SIGKILL, true).await {
            tracing::debug!(pid = self.pid, %error, "kill");
        }
        self.wait().await
    }
}
