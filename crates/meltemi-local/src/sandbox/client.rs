//! The supervisor's side of the sandbox: starting it, asking it, hearing of deaths.

#![expect(unsafe_code, reason = "between fork and exec")]

use super::protocol::{Answer, Begin, Capabilities, Ended, Envelope, Reply, Request, Spawn};
use crate::wire;
use meltemi_capture::{MeshNetwork, RuleSet};
use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Why the sandbox did not do something.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The helper process could not be started.
    #[error("start the sandbox ({0}): {1}")]
    Start(String, #[source] io::Error),
    /// The machine does not allow what the sandbox needs; the text has the remedy.
    #[error("the machine forbids a sandbox: {0}")]
    Forbidden(String),
    /// A step of making the sandbox or a request failed; the text says which.
    #[error("{0}")]
    Failed(String),
    /// The sandbox is gone, and everything in it.
    #[error("the sandbox has ended, and with it every process of the mesh")]
    Gone,
}

type Answered = Result<(Reply, Vec<OwnedFd>), SandboxError>;

#[derive(Default)]
struct Waiting {
    requests: HashMap<u64, oneshot::Sender<Answered>>,
    /// Set when the reader has ended: nothing will be answered any more.
    closed: bool,
}

struct Shared {
    waiting: Mutex<Waiting>,
    outgoing: std::sync::mpsc::Sender<(Envelope, Vec<OwnedFd>)>,
    next: std::sync::atomic::AtomicU64,
    capabilities: Capabilities,
}

/// A handle on the sandbox; clones share it. When the last one and the events go, it ends.
#[derive(Clone)]
pub struct Sandbox(Arc<Shared>);

/// Ends of spawned processes, in order. `None` from [`next`](Self::next): the sandbox has ended.
pub struct SandboxEvents {
    events: mpsc::UnboundedReceiver<(i32, Ended)>,
    helper: Child,
    socket: Arc<UnixStream>,
}

impl SandboxEvents {
    /// The next process that ended.
    pub async fn next(&mut self) -> Option<(i32, Ended)> {
        self.events.recv().await
    }

    /// Ends the sandbox and everything in it, and waits until the kernel has done so.
    pub fn end(mut self) -> io::Result<()> {
        self.close()
    }

    fn close(&mut self) -> io::Result<()> {
        // Both directions: the reader thread wakes, the sandbox sees the end.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        self.helper.wait().map(|_| ())
    }
}

impl Drop for SandboxEvents {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

impl Sandbox {
    /// Starts the helper process (`command`, to which `--fd N` is added) and waits until it
    /// stands. Without `namespaces`, processes are kept together and ended together, no more.
    /// Blocks for some milliseconds.
    pub fn start(
        command: &[String],
        namespaces: bool,
    ) -> Result<(Self, SandboxEvents), SandboxError> {
        let shown = command.join(" ");
        let failed = |error| SandboxError::Start(shown.clone(), error);
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| failed(io::Error::other("the command is empty")))?;
        let (own, theirs) = UnixStream::pair().map_err(failed)?;
        let number = theirs.as_raw_fd();
        let mut helper = Command::new(program);
        helper
            .args(arguments)
            .args(["--fd", &number.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        // SAFETY: one system call between fork and exec.
        unsafe {
            helper.pre_exec(move || {
                // Inherited by the helper, and by no other process that is started meanwhile.
                if libc::fcntl(number, libc::F_SETFD, 0) < 0 {
                    Err(io::Error::last_os_error())
                } else {
                    Ok(())
                }
            });
        }
        let mut helper = helper.spawn().map_err(failed)?;
        drop(theirs);
        if let Err(error) = wire::send(own.as_fd(), &Begin { namespaces }, &[]) {
            let _ = helper.wait();
            return Err(failed(error));
        }
        let capabilities = match wire::receive::<Answer>(own.as_fd()) {
            Ok(Some((Answer::Ready(capabilities), _))) => capabilities,
            outcome => {
                let _ = helper.wait();
                return Err(match outcome {
                    Ok(Some((
                        Answer::Failed {
                            message,
                            forbidden: true,
                        },
                        _,
                    ))) => SandboxError::Forbidden(message),
                    Ok(Some((Answer::Failed { message, .. }, _))) => SandboxError::Failed(message),
                    Ok(_) => SandboxError::Gone,
                    Err(error) => failed(error),
                });
            }
        };
        let own = Arc::new(own);
        let (outgoing, queue) = std::sync::mpsc::channel::<(Envelope, Vec<OwnedFd>)>();
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            outgoing,
            next: std::sync::atomic::AtomicU64::new(1),
            capabilities,
        });
        let writer = own.clone();
        thread("sandbox-write", move || {
            for (envelope, fds) in queue {
                let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                if wire::send(writer.as_fd(), &envelope, &fds).is_err() {
                    break;
                }
            }
            // The last handle is gone, or the peer: either way nothing more will be asked.
            let _ = writer.shutdown(std::net::Shutdown::Both);
        })
        .map_err(failed)?;
        let (deaths, events) = mpsc::unbounded_channel();
        let reader = own.clone();
        let weak = Arc::downgrade(&shared);
        thread("sandbox-read", move || {
            while let Ok(Some((answer, fds))) = wire::receive::<Answer>(reader.as_fd()) {
                match answer {
                    Answer::Reply { id, result } => {
                        let Some(shared) = weak.upgrade() else { break };
                        let waiter = lock(&shared.waiting).requests.remove(&id);
                        if let Some(waiter) = waiter {
                            // A caller that stopped waiting does not want the answer.
                            let _ = waiter.send(
                                result
                                    .map(|reply| (reply, fds))
                                    .map_err(SandboxError::Failed),
                            );
                        }
                    }
                    Answer::Exited { pid, status } => {
                        let _ = deaths.send((pid, status));
                    }
                    Answer::Ready(_) | Answer::Failed { .. } => break,
                }
            }
            if let Some(shared) = weak.upgrade() {
                let mut waiting = lock(&shared.waiting);
                waiting.closed = true;
                waiting.requests.clear();
            }
        })
        .map_err(failed)?;
        Ok((
            Self(shared),
            SandboxEvents {
                events,
                helper,
                socket: own,
            },
        ))
    }

    /// What kind of sandbox it is.
    pub fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    async fn ask(&self, request: Request, fds: Vec<OwnedFd>) -> Answered {
        let id = self
            .0
            .next
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (waiter, answer) = oneshot::channel();
        {
            let mut waiting = lock(&self.0.waiting);
            if waiting.closed {
                return Err(SandboxError::Gone);
            }
            waiting.requests.insert(id, waiter);
        }
        self.0
            .outgoing
            .send((Envelope { id, request }, fds))
            .map_err(|_| SandboxError::Gone)?;
        answer.await.map_err(|_| SandboxError::Gone)?
    }

    /// Makes the mesh's hub; once, first.
    pub async fn open(&self, network: MeshNetwork) -> Result<(), SandboxError> {
        self.ask(Request::Open { network }, Vec::new())
            .await
            .map(|_| ())
    }

    /// Makes a workload's network namespace with its rules.
    pub async fn create(
        &self,
        workload: &str,
        address: Ipv4Addr,
        rules: RuleSet,
    ) -> Result<(), SandboxError> {
        let request = Request::Create {
            workload: workload.to_owned(),
            address,
            rules,
        };
        self.ask(request, Vec::new()).await.map(|_| ())
    }

    /// Replaces a workload's rules atomically.
    pub async fn rules(&self, workload: &str, rules: RuleSet) -> Result<(), SandboxError> {
        self.ask(
            Request::Rules {
                workload: workload.to_owned(),
                rules,
            },
            Vec::new(),
        )
        .await
        .map(|_| ())
    }

    /// Cuts a workload off and forgets it.
    pub async fn destroy(&self, workload: &str) -> Result<(), SandboxError> {
        self.ask(
            Request::Destroy {
                workload: workload.to_owned(),
            },
            Vec::new(),
        )
        .await
        .map(|_| ())
    }

    /// Starts a process with `stdout`, `stderr` and further descriptors, which it finds from
    /// [`EXTRA_FD`](super::EXTRA_FD) on. Returns its pid inside the sandbox once it runs.
    pub async fn spawn(
        &self,
        spawn: Spawn,
        stdout: OwnedFd,
        stderr: OwnedFd,
        extra: Vec<OwnedFd>,
    ) -> Result<i32, SandboxError> {
        let mut fds = vec![stdout, stderr];
        fds.extend(extra);
        match self.ask(Request::Spawn(Box::new(spawn)), fds).await? {
            (Reply::Pid(pid), _) => Ok(pid),
            (Reply::Done, _) => Err(SandboxError::Failed(
                "the sandbox answered without a pid".into(),
            )),
        }
    }

    /// Signals a process, or its whole process group. One that has ended is no error.
    pub async fn signal(&self, pid: i32, signal: i32, group: bool) -> Result<(), SandboxError> {
        self.ask(Request::Signal { pid, signal, group }, Vec::new())
            .await
            .map(|_| ())
    }

    /// An unconnected, non-blocking IPv4 TCP socket in the workload's namespace that reaches the
    /// application past the rules.
    pub async fn socket(&self, workload: &str) -> Result<OwnedFd, SandboxError> {
        let (_, mut fds) = self
            .ask(
                Request::Socket {
                    workload: workload.to_owned(),
                },
                Vec::new(),
            )
            .await?;
        fds.pop()
            .ok_or_else(|| SandboxError::Failed("the sandbox answered without a socket".into()))
    }

    /// The workload's namespaces: net, mnt, pid and, rootless, user.
    pub async fn namespaces(&self, workload: &str) -> Result<Vec<OwnedFd>, SandboxError> {
        Ok(self
            .ask(
                Request::Namespaces {
                    workload: workload.to_owned(),
                },
                Vec::new(),
            )
            .await?
            .1)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(|_| ())
}
