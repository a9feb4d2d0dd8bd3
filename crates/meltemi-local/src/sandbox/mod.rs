//! The sandbox: pid 1 of the mesh's processes. It makes namespaces, starts processes in them
//! and hands out sockets; it decides nothing. When its control socket closes, it ends, and the
//! kernel ends everything below it. Where the machine forbids namespaces it can do without:
//! then it kills everything below it itself.

mod client;
pub(crate) mod confine;
mod landlock;
pub(crate) mod process;
mod protocol;
mod server;
pub(crate) mod sweep;

pub use client::{Sandbox, SandboxError, SandboxEvents};
pub use protocol::{Capabilities, EXTRA_FD, Ended, NETNS_FD, Reach, Role, Spawn, View};

use crate::preflight;
use crate::wire;
use confine::{Failure, map_ids, private_mounts};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use protocol::{Answer, Begin};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

/// CAP_SYS_ADMIN's bit in the effective set.
const SYS_ADMIN: u64 = 1 << 21;

/// The hidden command `meltemi sandbox --fd N`: makes the sandbox and serves the socket `fd`
/// until it closes. Returns the exit code.
///
/// Must be called before any thread is started: user namespaces and forks need it.
#[expect(unsafe_code, reason = "a descriptor that the parent handed over")]
pub fn main(fd: RawFd) -> i32 {
    // SAFETY: the supervisor passes this descriptor for us alone.
    let control = unsafe { OwnedFd::from_raw_fd(fd) };
    let cloexec = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
    if let Err(error) = nix::fcntl::fcntl(&control, cloexec) {
        eprintln!(
            "meltemi sandbox: descriptor {fd}: {error}; this command is started by `meltemi up`"
        );
        return 2;
    }
    // A terminal's Ctrl-C is for the supervisor alone, which then stops us in order.
    let _ = nix::unistd::setsid();
    let begun = match wire::receive::<Begin>(control.as_fd()) {
        Ok(Some((begin, _))) if begin.namespaces => isolate(),
        Ok(Some(_)) => plain(),
        // The supervisor has gone already.
        Ok(None) => return 0,
        Err(error) => Err(("read the supervisor's first message".into(), error)),
    };
    match begun {
        Ok(Isolated::Outer(child)) => {
            drop(control);
            let code = loop {
                match waitpid(child, None) {
                    Ok(WaitStatus::Exited(_, code)) => break code,
                    Ok(WaitStatus::Signaled(..)) => break 1,
                    Err(nix::errno::Errno::EINTR) | Ok(_) => {}
                    Err(_) => break 1,
                }
            };
            // With a pid namespace nothing is left; without one, only when the inner was killed.
            sweep::end_descendants();
            code
        }
        Ok(Isolated::Inner(capabilities)) => server::serve(control, capabilities),
        Err((step, error)) => {
            let forbidden = preflight::is_forbidden(&error);
            let message = match preflight::remedy(&error) {
                Some(remedy) => format!("{step}: {error}; {remedy}"),
                None => format!("{step}: {error}"),
            };
            // If the supervisor is gone there is nobody to tell.
            let _ = wire::send(control.as_fd(), &Answer::Failed { message, forbidden }, &[]);
            1
        }
    }
}

enum Isolated {
    Outer(nix::unistd::Pid),
    Inner(Capabilities),
}

/// User, pid and mount namespaces. The inner process is pid 1.
#[expect(unsafe_code, reason = "fork")]
fn isolate() -> Result<Isolated, Failure> {
    let failed =
        |step: &'static str| move |error: nix::errno::Errno| (step.to_owned(), error.into());
    let rootless = !has_admin();
    if rootless {
        let (uid, gid) = (
            nix::unistd::getuid().as_raw(),
            nix::unistd::getgid().as_raw(),
        );
        unshare(CloneFlags::CLONE_NEWUSER).map_err(failed("make a user namespace"))?;
        map_ids(0, uid, 0, gid)?;
    }
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)
        .map_err(failed("make pid and mount namespaces"))?;
    // SAFETY: single-threaded, as `main` requires.
    match unsafe { fork() }.map_err(failed("fork"))? {
        ForkResult::Parent { child } => Ok(Isolated::Outer(child)),
        ForkResult::Child => {
            // If the outer process is killed, nobody would reap or signal us.
            // SAFETY: plain system call.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            private_mounts()?;
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            // Refused in containers that mask parts of /proc; theirs then shows more pids, no harm.
            let own_proc = mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).is_ok();
            Ok(Isolated::Inner(Capabilities {
                rootless,
                own_proc,
                namespaces: true,
            }))
        }
    }
}

/// No namespaces: what it starts stays below it, also what has lost its parent. In two
/// processes, so that one is left to end the rest when the other is killed.
#[expect(unsafe_code, reason = "fork")]
fn plain() -> Result<Isolated, Failure> {
    let adopt = || {
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|error| ("adopt orphaned processes".to_owned(), error.into()))
    };
    adopt()?;
    // SAFETY: single-threaded, as `main` requires.
    match unsafe { fork() }.map_err(|error| ("fork".to_owned(), error.into()))? {
        ForkResult::Parent { child } => Ok(Isolated::Outer(child)),
        ForkResult::Child => {
            adopt()?;
            Ok(Isolated::Inner(Capabilities {
                rootless: !nix::unistd::geteuid().is_root(),
                own_proc: false,
                namespaces: false,
            }))
        }
    }
}

/// Whether the process may make namespaces as it is: root outside restricted containers.
fn has_admin() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|set| set & SYS_ADMIN != 0)
}
