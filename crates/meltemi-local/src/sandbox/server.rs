//! The sandbox's loop: requests from the supervisor, deaths of children.

use super::process::{NotStarted, Place, become_process, fork_exec};
use super::protocol::{Answer, Capabilities, Ended, Envelope, Reply, Request, Role, Spawn};
use super::sweep::end_descendants;
use crate::wire;
use meltemi_capture::{Fabric, Netns, PASSTHROUGH_SOURCE};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

struct Workload {
    netns: Netns,
    address: Ipv4Addr,
}

struct Server {
    control: OwnedFd,
    capabilities: Capabilities,
    fabric: Option<Fabric>,
    workloads: HashMap<String, Workload>,
    /// Processes we were asked to start; orphans that we inherit are reaped and not reported.
    children: HashSet<i32>,
}

/// Serves until the supervisor goes away. Returns the exit code.
pub(super) fn serve(control: OwnedFd, capabilities: Capabilities) -> i32 {
    let mut server = Server {
        control,
        capabilities,
        fabric: None,
        workloads: HashMap::new(),
        children: HashSet::new(),
    };
    let outcome = server.run();
    if !capabilities.namespaces {
        end_descendants();
    }
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("meltemi sandbox: {error}");
            1
        }
    }
}

impl Server {
    fn run(&mut self) -> io::Result<()> {
        let mut deaths = SigSet::empty();
        deaths.add(Signal::SIGCHLD);
        deaths.thread_block()?;
        let signals =
            SignalFd::with_flags(&deaths, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        self.send(&Answer::Ready(self.capabilities), &[])?;
        loop {
            let mut ready = [
                PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) => {}
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [asked, died] = ready.map(|one| one.any().unwrap_or(false));
            if died {
                while let Ok(Some(_)) = signals.read_signal() {}
                self.reap()?;
            }
            if asked && !self.answer()? {
                return Ok(());
            }
        }
    }

    fn send(&self, answer: &Answer, fds: &[OwnedFd]) -> io::Result<()> {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        wire::send(self.control.as_fd(), answer, &fds)
    }

    fn reap(&mut self) -> io::Result<()> {
        loop {
            let next = if self.capabilities.namespaces {
                None
            } else {
                self.end_group_of_next()
            };
            let (pid, status) = match waitpid(next, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid.as_raw(), Ended::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid.as_raw(), Ended::Signal(signal as i32))
                }
                Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return Ok(()),
                Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if self.children.remove(&pid) {
                self.send(&Answer::Exited { pid, status }, &[])?;
            }
        }
    }

    /// A container ends with its first process; without a pid namespace that takes a hand: the
    /// rest of the group of the child that is to be reaped next, before its number is free.
    fn end_group_of_next(&self) -> Option<Pid> {
        use nix::sys::wait::{Id, waitid};
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let next = waitid(Id::All, flags).ok()?.pid()?;
        if self.children.contains(&next.as_raw()) {
            // Fails where nothing else is left of the group.
            let _ = nix::sys::signal::killpg(next, Signal::SIGKILL);
        }
        Some(next)
    }

    /// One request; false when the supervisor has closed.
    fn answer(&mut self) -> io::Result<bool> {
        let Some((Envelope { id, request }, fds)) = wire::receive(self.control.as_fd())? else {
            return Ok(false);
        };
        let (result, fds) = match self.handle(request, fds) {
            Ok((reply, fds)) => (Ok(reply), fds),
            Err(message) => (Err(message), Vec::new()),
        };
        self.send(&Answer::Reply { id, result }, &fds)?;
        Ok(true)
    }

    fn handle(
        &mut self,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<(Reply, Vec<OwnedFd>), String> {
        let done = |fds| Ok((Reply::Done, fds));
        if !self.capabilities.namespaces {
            // The same requests, as far as they mean something in a network shared by all.
            match request {
                Request::Open { .. }
                | Request::Create { .. }
                | Request::Rules { .. }
                | Request::Destroy { .. }
                | Request::Namespaces { .. } => return done(Vec::new()),
                Request::Socket { .. } => {
                    return done(vec![plain_socket().map_err(text)?.into()]);
                }
                Request::Spawn(_) | Request::Signal { .. } => {}
            }
        }
        match request {
            Request::Open { network } => {
                if self.fabric.is_some() {
                    return Err("the hub is open already".into());
                }
                self.fabric = Some(Fabric::create(network).map_err(text)?);
                done(Vec::new())
            }
            Request::Create {
                workload,
                address,
                rules,
            } => {
                if self.workloads.contains_key(&workload) {
                    return Err(format!("workload {workload} exists already"));
                }
                let fabric = self.fabric.as_ref().ok_or("the hub is not open")?;
                let netns = fabric.attach(address).map_err(text)?;
                if let Err(error) = rules.apply(&netns) {
                    // The address must be free for the next attempt.
                    return Err(match fabric.detach(address) {
                        Ok(()) => text(error),
                        Err(second) => format!("{error}; then {second}"),
                    });
                }
                self.workloads.insert(workload, Workload { netns, address });
                done(Vec::new())
            }
            Request::Rules { workload, rules } => {
                rules
                    .apply(&self.workload(&workload)?.netns)
                    .map_err(text)?;
                done(Vec::new())
            }
            Request::Destroy { workload } => {
                let Workload { address, .. } = self
                    .workloads
                    .remove(&workload)
                    .ok_or_else(|| format!("no workload {workload}"))?;
                self.fabric
                    .as_ref()
                    .ok_or("the hub is not open")?
                    .detach(address)
                    .map_err(text)?;
                done(Vec::new())
            }
            Request::Spawn(spawn) => {
                let pid = self.spawn(*spawn, fds)?;
                Ok((Reply::Pid(pid), Vec::new()))
            }
            Request::Signal { pid, signal, group } => {
                // Only what we started: after its end the number may be another's.
                if self.children.contains(&pid) {
                    let target = Pid::from_raw(if group { -pid } else { pid });
                    let signal = Signal::try_from(signal).map_err(text)?;
                    match nix::sys::signal::kill(target, signal) {
                        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                        Err(error) => return Err(format!("signal process {pid}: {error}")),
                    }
                }
                done(Vec::new())
            }
            Request::Socket { workload } => {
                let socket = self
                    .workload(&workload)?
                    .netns
                    .run(probe_socket)
                    .map_err(text)?;
                done(vec![socket.map_err(text)?.into()])
            }
            Request::Namespaces { workload } => {
                let workload = self.workload(&workload)?;
                let open = |name: &str| {
                    let path = format!("/proc/self/ns/{name}");
                    File::open(&path)
                        .map(OwnedFd::from)
                        .map_err(|error| format!("open {path}: {error}"))
                };
                let mut fds = vec![
                    workload.netns.try_clone().map_err(text)?.into(),
                    open("mnt")?,
                    open("pid")?,
                ];
                if self.capabilities.rootless {
                    fds.push(open("user")?);
                }
                done(fds)
            }
        }
    }

    fn workload(&self, name: &str) -> Result<&Workload, String> {
        self.workloads
            .get(name)
            .ok_or_else(|| format!("no workload {name}"))
    }

    fn spawn(&mut self, spawn: Spawn, fds: Vec<OwnedFd>) -> Result<i32, String> {
        if fds.len() < 2 {
            return Err("a process needs stdout and stderr".into());
        }
        let Spawn {
            workload,
            role,
            argv,
            env,
            cwd,
        } = spawn;
        let place = match (&role, &workload) {
            _ if !self.capabilities.namespaces => Place::Shared,
            (Role::System, _) => Place::Host,
            (_, Some(workload)) => Place::Workload(self.workload(workload)?.netns.as_fd()),
            (_, None) => return Err("an application or sidecar needs a workload".into()),
        };
        let pid = fork_exec(|| become_process(&role, place, &argv, &env, cwd.as_deref(), fds))
            .map_err(NotStarted::message)?
            .as_raw();
        self.children.insert(pid);
        Ok(pid)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn plain_socket() -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket whose source address the capture rules let through to the application.
fn probe_socket() -> io::Result<socket2::Socket> {
    let socket = plain_socket()?;
    let source: std::net::SocketAddr = (PASSTHROUGH_SOURCE, 0).into();
    socket.bind(&source.into())?;
    Ok(socket)
}
