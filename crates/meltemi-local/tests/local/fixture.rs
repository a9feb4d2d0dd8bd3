//! What the tests share: running as root and as an ordinary user, a sandbox with a workload,
//! programs in it, and waiting for conditions.

use meltemi_capture::{MeshNetwork, RuleSet};
use meltemi_local::sandbox::{Ended, Reach, Role, Sandbox, SandboxEvents, Spawn, View};
use std::future::Future;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Reached only when something is stuck.
pub const PATIENCE: Duration = Duration::from_secs(20);
const NOBODY: u32 = 65534;
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 98, 3, 7);

/// The users a test can run as here.
pub fn roles(test: &str) -> Vec<&'static str> {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: {test} as root: the tests run as an ordinary user");
    }
    let mut roles = if root { vec!["root"] } else { Vec::new() };
    let mut probe = Command::new("/bin/true");
    as_nobody(&mut probe, root);
    // SAFETY: one system call between fork and exec.
    unsafe {
        probe.pre_exec(|| {
            if libc::unshare(libc::CLONE_NEWUSER) < 0 {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
    }
    match probe.status() {
        Ok(_) => roles.push("user"),
        Err(error) => println!(
            "skipped: {test} as an ordinary user: user namespaces are forbidden here: {error}"
        ),
    }
    roles
}

/// Runs one test in a process of its own; true when it passed.
pub fn run_as(role: &str, test: &str) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["role", role, test]).current_dir("/");
    as_nobody(
        &mut command,
        role == "user" && nix::unistd::geteuid().is_root(),
    );
    let output = command.output().unwrap();
    if !output.status.success() {
        println!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    output.status.success()
}

fn as_nobody(command: &mut Command, change: bool) {
    if change {
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// The command that starts this program as a sandbox.
pub fn helper() -> Vec<String> {
    vec![
        std::env::current_exe()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned(),
        "sandbox".into(),
    ]
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// A sandbox with one workload, `one`, at [`ADDRESS`].
pub struct World {
    pub sandbox: Sandbox,
    pub events: SandboxEvents,
    pub run: tempfile::TempDir,
    pub state: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::on(true).await
    }

    /// In the machine's own network.
    pub async fn without_namespaces() -> Self {
        Self::on(false).await
    }

    async fn on(namespaces: bool) -> Self {
        let (sandbox, events) = Sandbox::start(&helper(), namespaces).unwrap();
        assert_eq!(sandbox.capabilities().namespaces, namespaces);
        sandbox.open(MeshNetwork::standard()).await.unwrap();
        let rules = RuleSet::standard(MeshNetwork::standard().ranges());
        sandbox.create("one", ADDRESS, rules).await.unwrap();
        let (run, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(run.path().join("secret"), "run").unwrap();
        std::fs::write(state.path().join("secret"), "state").unwrap();
        Self {
            sandbox,
            events,
            run,
            state,
        }
    }

    pub fn view(&self) -> View {
        View {
            hostname: "one-0".into(),
            resolv_conf: "nameserver 10.98.0.1\nsearch shop.svc.cluster.local\noptions ndots:5\n"
                .into(),
            hosts: "127.0.0.1 localhost\n10.98.3.7 one-0\n".into(),
            staging: self.run.path().into(),
            hide: vec![self.state.path().into(), PathBuf::from("/does/not/exist")],
            uid: None,
            gid: None,
            owner: (
                nix::unistd::getuid().as_raw(),
                nix::unistd::getgid().as_raw(),
            ),
            rootless: self.sandbox.capabilities().rootless,
            reach: Reach::Own,
        }
    }

    pub fn shell(&self, script: &str) -> Spawn {
        Spawn {
            workload: Some("one".into()),
            role: Role::Application(self.view()),
            argv: vec!["sh".into(), "-c".into(), script.into()],
            env: vec![("PATH".into(), std::env::var("PATH").unwrap())],
            cwd: Some("/".into()),
        }
    }

    /// Runs a process to its end: how it ended and what it wrote, both outputs together.
    pub async fn output(&mut self, spawn: Spawn) -> (Ended, String) {
        let (mut read, write) = pipe();
        let second = write.try_clone().unwrap();
        let pid = self
            .sandbox
            .spawn(spawn, write, second, Vec::new())
            .await
            .unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            read.read_to_string(&mut text).map(|_| text)
        });
        let ended = self.ended(pid).await;
        (ended, reader.join().unwrap().unwrap())
    }

    pub async fn ended(&mut self, wanted: i32) -> Ended {
        loop {
            let (pid, ended) = tokio::time::timeout(PATIENCE, self.events.next())
                .await
                .unwrap()
                .unwrap();
            if pid == wanted {
                return ended;
            }
        }
    }
}

pub fn pipe() -> (std::fs::File, OwnedFd) {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    (read.into(), write)
}

pub fn null() -> OwnedFd {
    std::fs::File::options()
        .write(true)
        .open("/dev/null")
        .unwrap()
        .into()
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Processes whose command line contains `mark`, in the machine's own view.
pub fn processes(mark: &str) -> Vec<i32> {
    let own = std::process::id() as i32;
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != own)
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(mark))
        })
        .collect()
}

/// Waits until `condition` holds while the runtime goes on.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
