//! Starting one process from the single-threaded sandbox (or from the command line, to enter).

#![expect(unsafe_code, reason = "fork, and what comes before exec")]

use super::confine::{Failure, confine, soften};
use super::protocol::{EXTRA_FD, NETNS_FD, Role};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::WaitStatus;
use nix::unistd::{ForkResult, Pid, fork, pipe2};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

/// Why a process did not become its program.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// A step before failed.
    Failed(String),
    /// There is no such program.
    NotFound(String),
    /// There is one that cannot be run.
    NotExecutable(String),
}

impl NotStarted {
    /// The step and its error.
    pub fn message(self) -> String {
        match self {
            Self::Failed(text) | Self::NotFound(text) | Self::NotExecutable(text) => text,
        }
    }

    /// Shells' exit codes for the latter two.
    fn code(&self) -> libc::c_int {
        match self {
            Self::Failed(_) => 1,
            Self::NotExecutable(_) => NOT_EXECUTABLE,
            Self::NotFound(_) => NOT_FOUND,
        }
    }
}

impl From<Failure> for NotStarted {
    fn from((step, error): Failure) -> Self {
        Self::Failed(format!("{step}: {error}"))
    }
}

/// Exit codes by which a child tells its parent, and shells their users.
const NOT_EXECUTABLE: libc::c_int = 126;
const NOT_FOUND: libc::c_int = 127;

/// Forks and runs `child`, which ends in exec; returns once exec succeeded, or with the step
/// that failed. The caller must be single-threaded.
pub(crate) fn fork_exec(child: impl FnOnce() -> NotStarted) -> Result<Pid, NotStarted> {
    let own = |step: &str, error: io::Error| NotStarted::from((step.to_owned(), error));
    let (mut report, outcome) = {
        let (read, write) =
            pipe2(OFlag::O_CLOEXEC).map_err(|error| own("make a pipe", error.into()))?;
        (File::from(read), File::from(write))
    };
    // SAFETY: the process is single-threaded, so the child may allocate and lock like any other.
    match unsafe { fork() }.map_err(|error| own("fork", error.into()))? {
        ForkResult::Child => {
            drop(report);
            let failure = child();
            let code = failure.code();
            let mut outcome = outcome;
            // Nobody is left to tell if this fails; the exit code remains.
            let _ = write!(outcome, "{}", failure.message());
            // SAFETY: ends the child at once, without running the parent's destructors.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => {
            drop(outcome);
            let mut text = String::new();
            report
                .read_to_string(&mut text)
                .map_err(|error| own("start a process", error))?;
            if text.is_empty() {
                return Ok(child);
            }
            // It has exited or is about to.
            Err(match nix::sys::wait::waitpid(child, None) {
                Ok(WaitStatus::Exited(_, NOT_FOUND)) => NotStarted::NotFound(text),
                Ok(WaitStatus::Exited(_, NOT_EXECUTABLE)) => NotStarted::NotExecutable(text),
                _ => NotStarted::Failed(text),
            })
        }
    }
}

/// Where a process is started.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// In the machine's own network, below a pid 1 that takes it along.
    Host,
    /// For a workload's network namespace, below such a pid 1.
    Workload(BorrowedFd<'a>),
    /// In the machine's own network, below a process that nobody ends it with.
    Shared,
}

/// In the child: place, privileges, descriptors, exec. Returns only the failure.
pub(crate) fn become_process(
    role: &Role,
    place: Place<'_>,
    argv: &[String],
    env: &[(String, String)],
    cwd: Option<&Path>,
    fds: Vec<OwnedFd>,
) -> NotStarted {
    let failed = |step: &str| {
        let step = step.to_owned();
        move |error: nix::errno::Errno| (step, io::Error::from(error))
    };
    let prepared = || -> Result<Vec<(String, String)>, Failure> {
        nix::unistd::setsid().map_err(failed("start a session"))?;
        default_signals();
        let mut env = env.to_vec();
        match (role, place) {
            (Role::Application(view), Place::Workload(netns)) => {
                nix::sched::setns(netns, nix::sched::CloneFlags::CLONE_NEWNET)
                    .map_err(failed("join the network namespace"))?;
                env.extend(confine(view)?);
            }
            (Role::Application(view), Place::Shared) => soften(view)?,
            (Role::Application(_), Place::Host) => {
                let error = io::ErrorKind::InvalidInput.into();
                return Err(("join the network namespace".to_owned(), error));
            }
            (Role::Sidecar | Role::System, _) => {}
        }
        if matches!(place, Place::Shared) {
            // Should the sandbox be killed, nobody else would end it. After the change of ids,
            // which resets it.
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
                .map_err(failed("follow the sandbox's end"))?;
        }
        let null = File::open("/dev/null").map_err(|error| ("open /dev/null".to_owned(), error))?;
        let mut wanted = vec![(0, null.into_raw_fd())];
        let mut fds = fds.into_iter().map(IntoRawFd::into_raw_fd);
        wanted.extend([1, 2].into_iter().zip(&mut fds));
        if let (Role::Sidecar, Place::Workload(netns)) = (role, place) {
            wanted.push((NETNS_FD, netns.as_raw_fd()));
        }
        wanted.extend((EXTRA_FD..).zip(fds));
        put(&wanted).map_err(|error| ("pass descriptors".to_owned(), error))?;
        Ok(env)
    };
    match prepared() {
        Ok(env) => exec(argv, &env, cwd),
        Err(failure) => failure.into(),
    }
}

/// Duplicates each descriptor to its number, whatever numbers they have now.
fn put(wanted: &[(RawFd, RawFd)]) -> io::Result<()> {
    let above = wanted
        .iter()
        .map(|(number, _)| number + 1)
        .max()
        .unwrap_or(0)
        .max(16);
    let check = |result: libc::c_int| {
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(result)
        }
    };
    let mut moved = Vec::with_capacity(wanted.len());
    for &(number, fd) in wanted {
        // First out of the way of all target numbers, so that none is overwritten before use.
        // SAFETY: plain system calls on open descriptors.
        moved.push((
            number,
            check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, above) })?,
        ));
    }
    for (number, fd) in moved {
        // SAFETY: as above; dup2 clears close-on-exec.
        check(unsafe { libc::dup2(fd, number) })?;
    }
    Ok(())
}

/// Default dispositions and an empty mask, as a program expects them.
pub(crate) fn default_signals() {
    for signal in Signal::iterator() {
        // SIGKILL and SIGSTOP refuse, rightly.
        // SAFETY: the default action is no handler.
        let _ = unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Replaces the process. Returns only when that fails.
pub(crate) fn exec(argv: &[String], env: &[(String, String)], cwd: Option<&Path>) -> NotStarted {
    let Some(program) = argv.first() else {
        return NotStarted::Failed("the command is empty".into());
    };
    if let Some(cwd) = cwd
        && let Err(error) = nix::unistd::chdir(cwd)
    {
        return NotStarted::Failed(format!("change to directory {}: {error}", cwd.display()));
    }
    let path = env
        .iter()
        .find(|(name, _)| name == "PATH")
        .map_or("/usr/local/bin:/usr/bin:/bin", |(_, value)| value);
    let strings = |texts: Vec<String>| {
        texts
            .into_iter()
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()
    };
    let arguments = strings(argv.to_vec());
    let variables = strings(
        env.iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
    );
    let (Ok(arguments), Ok(variables)) = (arguments, variables) else {
        return NotStarted::Failed(format!(
            "run {program}: an argument or variable contains a NUL byte"
        ));
    };
    let mut failure = None;
    for candidate in candidates(program, path) {
        let Ok(file) = CString::new(candidate.as_os_str().as_encoded_bytes()) else {
            continue;
        };
        let Err(error) = nix::unistd::execve(&file, &arguments, &variables);
        // A directory of the PATH that lacks the program, or may not be searched, is no news.
        if candidate.symlink_metadata().is_ok() {
            failure = Some((candidate, error));
        }
    }
    match failure {
        // The file is there: what is missing is what its first line or its header names.
        Some((file, Errno::ENOENT)) => NotStarted::NotExecutable(format!(
            "run {}: its interpreter does not exist",
            file.display()
        )),
        Some((file, error)) => {
            NotStarted::NotExecutable(format!("run {}: {}", file.display(), error.desc()))
        }
        None if program.contains('/') => NotStarted::NotFound(format!("run {program}: not found")),
        None => NotStarted::NotFound(format!("run {program}: not found in PATH ({path})")),
    }
}

fn candidates(program: &str, path: &str) -> Vec<PathBuf> {
    if program.contains('/') {
        return vec![program.into()];
    }
    path.split(':')
        .map(|directory| {
            Path::new(if directory.is_empty() { "." } else { directory }).join(program)
        })
        .collect()
}
