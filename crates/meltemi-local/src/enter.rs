//! A program of the command line inside a pod: `meltemi exec` and `meltemi run`. The terminal,
//! signals and the exit code pass through.
//!
//! Joining a user namespace needs a single-threaded process: call before a runtime starts.

#![expect(unsafe_code, reason = "a signal is ignored")]

use crate::loopback::BIND_ADDRESS;
use crate::sandbox::Ended;
use crate::sandbox::confine::{Failure, confine, soften};
use crate::sandbox::process::{NotStarted, default_signals, exec, fork_exec};
use crate::sandbox::sweep::end_descendants;
use crate::supervisor::RunRequest;
use crate::supervisor::entrance::{Admission, EnterReply, EnterRequest};
use crate::wire;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, killpg, raise, signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, isatty, setpgid, tcgetpgrp, tcsetpgrp};
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What the program becomes part of.
#[derive(Debug, Clone)]
pub enum Target {
    /// An existing pod, by its name or its workload's; with that container's environment.
    Exec {
        /// Namespace.
        namespace: String,
        /// Pod or workload.
        name: String,
        /// Container; the first unless given.
        container: Option<String>,
    },
    /// A pod of its own, for as long as the program runs; with the caller's environment and
    /// directory.
    Run(RunRequest),
}

/// Where the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Namespace of the pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Where the program is to listen, in a mesh without namespaces (`BIND_ADDRESS`).
    pub bind: Option<String>,
}

/// Why the program did not run.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The mesh does not answer.
    #[error("the mesh does not answer on {0}: {1}; is it running? (meltemi up)")]
    Unreachable(String, #[source] io::Error),
    /// The mesh refuses; the text says why.
    #[error("{0}")]
    Refused(String),
    /// A step on the way in failed.
    #[error("{0}")]
    Failed(String),
    /// There is no such program in the pod.
    #[error("{0}")]
    NotFound(String),
    /// The program cannot be run.
    #[error("{0}")]
    NotExecutable(String),
    /// The mesh was stopped while the program ran, and the program with it.
    #[error("the mesh was stopped, and the program with it")]
    Stopped,
}

/// Runs `argv` in the pod and waits for its end. `admitted` is told where it runs just before.
/// Returns the exit code; 128 + N after signal N.
pub fn enter(
    run_dir: &Path,
    target: Target,
    argv: &[String],
    admitted: impl FnOnce(&Admitted),
) -> Result<i32, EnterError> {
    let path = run_dir.join("enter.sock");
    let unreachable = |error| EnterError::Unreachable(path.display().to_string(), error);
    let socket = UnixStream::connect(&path).map_err(unreachable)?;
    let (request, own_environment) = match target {
        Target::Exec {
            namespace,
            name,
            container,
        } => (
            EnterRequest::Exec {
                namespace,
                name,
                container,
            },
            false,
        ),
        Target::Run(request) => (EnterRequest::Run(request), true),
    };
    wire::send(socket.as_fd(), &request, &[]).map_err(unreachable)?;
    let reply = wire::receive::<EnterReply>(socket.as_fd()).map_err(unreachable)?;
    let (reply, fds) = reply.ok_or_else(|| unreachable(io::ErrorKind::UnexpectedEof.into()))?;
    let mut admission = reply.map_err(EnterError::Refused)?;
    admitted(&Admitted {
        namespace: admission.namespace.clone(),
        pod: admission.pod.clone(),
        address: admission.address,
        bind: admission
            .place
            .iter()
            .find(|(name, _)| name == BIND_ADDRESS)
            .map(|(_, value)| value.clone()),
    });
    if own_environment {
        take_own_environment(&mut admission);
    } else if let Ok(term) = std::env::var("TERM") {
        admission.env.push(("TERM".into(), term));
    }
    let namespaces = Namespaces::of(fds)?;
    supervise(&admission, namespaces.as_ref(), argv, &socket)
}

/// The program of `run` is the user's own: all of the caller's variables and the directory,
/// but for what tells it where it is.
fn take_own_environment(admission: &mut Admission) {
    let mut told = std::mem::take(&mut admission.place);
    told.push(("HOSTNAME".into(), admission.pod.clone()));
    admission.env = std::env::vars()
        .filter(|(name, _)| !told.iter().any(|(known, _)| known == name))
        .collect();
    // Of several with the same name the last counts.
    told.reverse();
    for (name, value) in told {
        if !admission.env.iter().any(|(known, _)| *known == name) {
            admission.env.push((name, value));
        }
    }
    if let Ok(directory) = std::env::current_dir() {
        admission.cwd = directory;
    }
}

struct Namespaces {
    net: OwnedFd,
    mnt: OwnedFd,
    pid: OwnedFd,
    user: Option<OwnedFd>,
}

impl Namespaces {
    /// `None`: the mesh has none.
    fn of(fds: Vec<OwnedFd>) -> Result<Option<Self>, EnterError> {
        let mut fds = fds.into_iter();
        match (fds.next(), fds.next(), fds.next()) {
            (None, ..) => Ok(None),
            (Some(net), Some(mnt), Some(pid)) => Ok(Some(Self {
                net,
                mnt,
                pid,
                user: fds.next(),
            })),
            _ => Err(EnterError::Failed(
                "the mesh answered without all namespaces".into(),
            )),
        }
    }
}

fn step<E: Into<io::Error>>(name: &str) -> impl FnOnce(E) -> Failure {
    let name = name.to_owned();
    move |error| (name, error.into())
}

/// Starts the program as a child and stands in for it until it ends.
fn supervise(
    admission: &Admission,
    namespaces: Option<&Namespaces>,
    argv: &[String],
    socket: &UnixStream,
) -> Result<i32, EnterError> {
    let failed = |name: &str| {
        let name = name.to_owned();
        move |error: Errno| EnterError::Failed(format!("{name}: {error}"))
    };
    let forwarded = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ];
    let mut watched: SigSet = forwarded.into_iter().collect();
    watched.add(Signal::SIGCHLD);
    watched.thread_block().map_err(failed("block signals"))?;
    let terminal = Terminal::of_stdin();
    if let Some(namespaces) = namespaces {
        if let Some(user) = &namespaces.user {
            setns(user, CloneFlags::CLONE_NEWUSER).map_err(failed("join the user namespace"))?;
        }
        // Holds for children: this process stays where it is.
        setns(&namespaces.pid, CloneFlags::CLONE_NEWPID)
            .map_err(failed("join the pid namespace"))?;
    } else {
        nix::sys::prctl::set_child_subreaper(true).map_err(failed("adopt orphaned processes"))?;
    }
    let own = this_process().map_err(|error| EnterError::Failed(format!("pidfd_open: {error}")))?;
    let child = fork_exec(
        || match join(admission, namespaces, terminal.is_some(), &own) {
            Ok(env) => exec(argv, &env, Some(&admission.cwd)),
            Err(failure) => failure.into(),
        },
    );
    let child = match child {
        Ok(child) => child,
        Err(failure) => {
            give_back(&terminal);
            return Err(match failure {
                NotStarted::Failed(text) => EnterError::Failed(text),
                NotStarted::NotFound(text) => EnterError::NotFound(text),
                NotStarted::NotExecutable(text) => EnterError::NotExecutable(text),
            });
        }
    };
    if namespaces.is_none() {
        end_with_mesh(child, socket)
            .map_err(|error| EnterError::Failed(format!("follow the mesh: {error}")))?;
    }
    let ended = wait(child, &watched, &terminal).map_err(failed("wait for the program"));
    give_back(&terminal);
    if namespaces.is_none() {
        // What it left running would be nobody's.
        end_descendants();
    }
    let ended = ended?;
    if ended == Ended::Signal(libc::SIGKILL) && hung_up(socket) {
        return Err(EnterError::Stopped);
    }
    Ok(ended.shell_code())
}

/// Without a pid namespace nobody ends the program when the mesh goes: a thread does, when the
/// mesh hangs up.
fn end_with_mesh(child: Pid, socket: &UnixStream) -> io::Result<()> {
    let mut socket = socket.try_clone()?;
    std::thread::Builder::new()
        .name("mesh".into())
        .spawn(move || {
            let mut rest = [0; 64];
            while matches!(socket.read(&mut rest), Ok(length) if length > 0) {}
            // The group of one that has ended is empty.
            let _ = killpg(child, Signal::SIGKILL);
        })
        .map(|_| ())
}

/// In the child: everything up to exec. Returns its environment.
fn join(
    admission: &Admission,
    namespaces: Option<&Namespaces>,
    terminal: bool,
    parent: &OwnedFd,
) -> Result<Vec<(String, String)>, Failure> {
    // A group of its own: the terminal's signals reach it once, ours are passed on.
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(step("make a process group"))?;
    if terminal {
        // A background group may only take the terminal with this signal ignored.
        // SAFETY: ignoring a signal installs no code.
        unsafe { signal(Signal::SIGTTOU, SigHandler::SigIgn) }.map_err(step("ignore SIGTTOU"))?;
        tcsetpgrp(io::stdin(), getpgrp()).map_err(step("take the terminal"))?;
    }
    let mut env = admission.env.clone();
    match namespaces {
        Some(namespaces) => {
            setns(&namespaces.mnt, CloneFlags::CLONE_NEWNS)
                .map_err(step("join the mount namespace"))?;
            setns(&namespaces.net, CloneFlags::CLONE_NEWNET)
                .map_err(step("join the network namespace"))?;
            env.extend(confine(&admission.view)?);
        }
        None => soften(&admission.view)?,
    }
    default_signals();
    // When the command line is killed, nobody would end the program.
    // SAFETY: plain system call.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // It may have been killed before that.
    let mut ended = [PollFd::new(parent.as_fd(), PollFlags::POLLIN)];
    match poll(&mut ended, PollTimeout::ZERO) {
        Ok(0) => Ok(env),
        Ok(_) => Err(step("start the program")(Errno::ESRCH)),
        Err(error) => Err(step("look at the command line")(error)),
    }
}

/// A descriptor that is readable once this process has ended. A child in another PID namespace
/// cannot tell by its parent's id, which is 0 there.
fn this_process() -> io::Result<OwnedFd> {
    // SAFETY: plain system call.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) };
    let fd = RawFd::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that is new, and closed on exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Passes signals on until the child has ended; stops and continues with it.
fn wait(child: Pid, watched: &SigSet, terminal: &Option<Terminal>) -> Result<Ended, Errno> {
    loop {
        match watched.wait()? {
            Signal::SIGCHLD => {}
            // It may have ended just now; its end comes next.
            other => drop(kill(child, other)),
        }
        loop {
            match waitpid(child, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
                Ok(WaitStatus::Exited(_, code)) => return Ok(Ended::Code(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Ended::Signal(signal as i32)),
                Ok(WaitStatus::Stopped(..)) => {
                    give_back(terminal);
                    raise(Signal::SIGSTOP)?;
                    // Continued: by the shell's `fg`, which has given us the terminal, or `bg`.
                    if let Some(terminal) = terminal
                        && tcgetpgrp(io::stdin()) == Ok(terminal.group)
                    {
                        tcsetpgrp(io::stdin(), child)?;
                    }
                    killpg(child, Signal::SIGCONT)?;
                }
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The terminal that this process has in the foreground.
struct Terminal {
    group: Pid,
}

impl Terminal {
    fn of_stdin() -> Option<Self> {
        let group = getpgrp();
        (isatty(io::stdin()) == Ok(true) && tcgetpgrp(io::stdin()) == Ok(group))
            .then_some(Self { group })
    }
}

fn give_back(terminal: &Option<Terminal>) {
    if let Some(terminal) = terminal {
        // SAFETY: ignoring a signal installs no code.
        let _ = unsafe { signal(Signal::SIGTTOU, SigHandler::SigIgn) };
        // A terminal that is gone needs no owner.
        let _ = tcsetpgrp(io::stdin(), terminal.group);
    }
}

fn hung_up(socket: &UnixStream) -> bool {
    let mut ready = [nix::poll::PollFd::new(
        socket.as_fd(),
        nix::poll::PollFlags::POLLIN,
    )];
    matches!(nix::poll::poll(&mut ready, 200u16), Ok(count) if count > 0)
}
