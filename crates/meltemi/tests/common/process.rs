//! Processes that end with the suite, also when the suite is killed.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};

type Order = (Command, Sender<io::Result<Child>>);

/// Starts a process that the kernel kills when this one is gone. A parent-death signal
/// watches the thread that forked, so all of them are forked by one that never ends.
pub fn spawn(command: Command) -> io::Result<Child> {
    static FORKER: OnceLock<Sender<Order>> = OnceLock::new();
    let forker = FORKER.get_or_init(|| {
        let (sender, receiver) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in receiver {
                // Nobody waits for an answer after a time limit only.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, result) = channel();
    forker
        .send((dying_with_parent(command), answer))
        .map_err(io::Error::other)?;
    result.recv().map_err(io::Error::other)?
}

fn dying_with_parent(mut command: Command) -> Command {
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command
}

/// A process that is killed when this goes out of scope. It is reaped as soon as it ends,
/// as a shell would: who waits for its end from elsewhere sees no zombie.
pub struct Killed {
    pub pid: i32,
    ended: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
}

impl Killed {
    /// # Errors
    /// As [`spawn`].
    pub fn spawn(command: Command) -> io::Result<Self> {
        let mut child = spawn(command)?;
        let pid = child.id() as i32;
        let (sender, ended) = channel();
        std::thread::spawn(move || {
            if let Ok(status) = child.wait() {
                // Nobody may care any more.
                let _ = sender.send(status);
            }
        });
        Ok(Self {
            pid,
            ended,
            status: None,
        })
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.status = self.status.or_else(|| self.ended.try_recv().ok());
        self.status
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        if self.status().is_none() {
            signal(self.pid, libc::SIGKILL);
            self.status = self.ended.recv().ok();
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Processes whose program, command line or environment contains `mark`, but for this one.
pub fn marked(mark: &str) -> Vec<(i32, String)> {
    let own = std::process::id() as i32;
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own);
    pids.filter_map(|pid| {
        let text = |file: &str| {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let line = text("cmdline");
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let found = line.contains(mark)
            || program.to_string_lossy().contains(mark)
            || text("environ").contains(mark);
        found.then_some((pid, line))
    })
    .collect()
}

/// Sends a signal; false when there is no such process.
pub fn signal(pid: i32, signal: i32) -> bool {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid, signal) == 0 }
}
