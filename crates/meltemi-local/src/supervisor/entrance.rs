//! `enter.sock`: hands out what a process of the command line needs to enter a pod, and keeps
//! the pod of a `run` for as long as the connection lives.

use super::controller::Command;
use super::pod::Pod;
use super::runs::RunRequest;
use super::sidecar;
use crate::sandbox::View;
use crate::wire;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Connections at once: one thread each.
const CONNECTIONS: usize = 128;
/// Bound on waiting for a new pod's proxy.
const READY: Duration = Duration::from_secs(30);

/// What the command line asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum EnterRequest {
    /// A process in an existing pod; `name` is a pod's or a workload's.
    Exec {
        namespace: String,
        name: String,
        container: Option<String>,
    },
    /// A process as a pod of its own.
    Run(RunRequest),
}

/// The answer; descriptors beside it: net, mnt, pid and, rootless, user namespaces; none where
/// the mesh has no namespaces.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Admission {
    pub pod: String,
    pub namespace: String,
    pub address: Ipv4Addr,
    pub view: View,
    pub env: Vec<(String, String)>,
    /// Variables that a process needs there whatever else its environment is; part of `env`.
    pub place: Vec<(String, String)>,
    pub cwd: PathBuf,
}

pub(crate) type EnterReply = Result<Admission, String>;

/// Accepts in a thread until the process ends.
pub(super) fn serve(
    listener: UnixListener,
    commands: mpsc::Sender<Command>,
    runtime: Handle,
) -> io::Result<()> {
    let open = Arc::new(AtomicUsize::new(0));
    std::thread::Builder::new()
        .name("enter".into())
        .spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { break };
                if commands.is_closed() {
                    break;
                }
                if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                    open.fetch_sub(1, Ordering::Relaxed);
                    let reply: EnterReply =
                        Err(format!("{CONNECTIONS} processes have entered already"));
                    // The caller sees the closed connection otherwise.
                    let _ = wire::send(stream.as_fd(), &reply, &[]);
                    continue;
                }
                let (commands, runtime, count) = (commands.clone(), runtime.clone(), open.clone());
                let started = std::thread::Builder::new()
                    .name("entered".into())
                    .spawn(move || {
                        if let Err(error) = admit(&stream, &commands, &runtime) {
                            tracing::debug!(%error, "enter.sock");
                        }
                        count.fetch_sub(1, Ordering::Relaxed);
                    });
                if started.is_err() {
                    open.fetch_sub(1, Ordering::Relaxed);
                }
            }
        })?;
    Ok(())
}

fn admit(
    stream: &UnixStream,
    commands: &mpsc::Sender<Command>,
    runtime: &Handle,
) -> io::Result<()> {
    let Some((request, _)) = wire::receive::<EnterRequest>(stream.as_fd())? else {
        return Ok(());
    };
    let mut run = None;
    let admission = runtime.block_on(async {
        let pod = match request {
            EnterRequest::Exec {
                namespace,
                name,
                container,
            } => {
                let (reply, found) = oneshot::channel();
                let command = Command::Find {
                    namespace,
                    name,
                    reply,
                };
                (ask(commands, command, found).await?, container)
            }
            EnterRequest::Run(request) => {
                let (reply, started) = oneshot::channel();
                let (pod, mut state) =
                    ask(commands, Command::Run { request, reply }, started).await?;
                run = Some(pod.plan.key());
                let proxied = pod.plan.has_proxy();
                let up = state.wait_for(|state| {
                    state.address.is_some()
                        && (!proxied
                            || state
                                .containers
                                .get(sidecar::NAME)
                                .is_some_and(|proxy| proxy.ready))
                });
                match tokio::time::timeout(READY, up).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) => return Err("the mesh is stopping".into()),
                    Err(_) => {
                        let trouble = pod.cell.subscribe().borrow().trouble();
                        let why =
                            trouble.map_or(String::new(), |(_, message)| format!(": {message}"));
                        return Err(format!(
                            "the pod's proxy was not ready within {READY:?}{why}"
                        ));
                    }
                }
                (pod, None)
            }
        };
        admission(&pod.0, pod.1.as_deref()).await
    });
    let (reply, fds): (EnterReply, _) = match admission {
        Ok((admission, fds)) => (Ok(admission), fds),
        Err(message) => (Err(message), Vec::new()),
    };
    let sent = wire::send(
        stream.as_fd(),
        &reply,
        &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>(),
    );
    drop(fds);
    if sent.is_ok() && reply.is_ok() {
        // Nothing more is said: the end of the stream is the end of the process that entered.
        let mut rest = [0; 64];
        while matches!((&*stream).read(&mut rest), Ok(length) if length > 0) {}
    }
    if let Some(key) = run {
        // A controller that is gone has ended the pod already.
        let _ = commands.blocking_send(Command::RunEnded { key });
    }
    sent
}

async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: Command,
    answer: oneshot::Receiver<Result<T, String>>,
) -> Result<T, String> {
    let stopping = || "the mesh is stopping".to_owned();
    commands.send(command).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())?
}

async fn admission(
    pod: &Pod,
    container: Option<&str>,
) -> Result<(Admission, Vec<OwnedFd>), String> {
    let entry = pod.entry(container)?;
    let key = pod.plan.key();
    let fds = pod
        .ctx
        .processes
        .sandbox()
        .namespaces(&key)
        .await
        .map_err(|error| format!("pod {}: {error}", pod.id()))?;
    let admission = Admission {
        pod: pod.plan.name.clone(),
        namespace: pod.plan.namespace.clone(),
        address: pod.place.pod,
        view: entry.view,
        env: entry.env,
        place: entry.place,
        cwd: entry.cwd,
    };
    Ok((admission, fds))
}
