//! `up --detach`: the supervisor as a process of its own; this one waits until it is ready.

#![expect(unsafe_code, reason = "between fork and exec")]

use super::report::{FAILED_MARK, READY_MARK};
use super::{Args, Outcome};
use anyhow::{Context, bail};
use meltemi_local::paths::{MeshPaths, private_directory};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Where the child finds its end of the pipe.
const REPORT_FD: i32 = 3;

pub fn run(args: &Args, dir: &Path) -> Outcome {
    let paths = MeshPaths::of(dir).with_context(|| format!("{}", dir.display()))?;
    let logs = paths.state.join("logs");
    private_directory(&paths.state)?;
    private_directory(&logs)?;
    let log = File::create(logs.join("supervisor.log")).context("cannot write supervisor.log")?;
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("up")
        .arg(dir)
        .args(["--report-fd", &REPORT_FD.to_string()]);
    command
        .arg("--wait-timeout")
        .arg(format!("{}ms", args.wait_timeout.as_millis()));
    command.args(["--mode", args.mode.word()]);
    if let Some(port) = args.port {
        command.args(["--port", &port.to_string()]);
    }
    if let Some(ttl) = args.cert_ttl {
        command
            .arg("--cert-ttl")
            .arg(format!("{}ms", ttl.as_millis()));
    }
    if let Some(cacerts) = &args.cacerts {
        command
            .arg("--cacerts")
            .arg(std::fs::canonicalize(cacerts)?);
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let fd = write.as_raw_fd();
    // SAFETY: only async-signal-safe calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            if fd == REPORT_FD {
                // dup2 onto itself would leave close-on-exec set.
                nix::libc::fcntl(fd, nix::libc::F_SETFD, 0);
            } else if nix::libc::dup2(fd, REPORT_FD) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let mut child = command.spawn().context("cannot start the supervisor")?;
    drop(write);
    follow(File::from(read), || {
        let status = child.wait().context("the supervisor")?;
        let text = std::fs::read_to_string(logs.join("supervisor.log")).unwrap_or_default();
        bail!(
            "the mesh did not start ({status})\n{}",
            text.trim_end().trim_start_matches("error: ")
        )
    })
}

/// Passes progress on until the summary, or the reason why there is none.
fn follow(report: File, mut ended: impl FnMut() -> Outcome) -> Outcome {
    let mut lines = BufReader::new(report).lines();
    while let Some(line) = lines
        .next()
        .transpose()
        .context("the supervisor's report")?
    {
        match line.as_str() {
            READY_MARK => {
                for line in lines {
                    crate::output::write(&format!("{}\n", line?))?;
                }
                return Ok(ExitCode::SUCCESS);
            }
            FAILED_MARK => {
                let reasons: Result<Vec<String>, _> = lines.collect();
                bail!("{}", reasons?.join("\n"))
            }
            line => eprintln!("{line}"),
        }
    }
    ended()
}
