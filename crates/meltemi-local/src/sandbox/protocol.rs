//! What the supervisor and the sandbox say to each other.

use meltemi_capture::{MeshNetwork, RuleSet};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The first descriptor a spawned process inherits beyond the standard three: a sidecar's
/// network namespace. Further ones follow from [`EXTRA_FD`].
pub const NETNS_FD: i32 = 3;
/// Where the descriptors that came with a [`Spawn`] (after stdout and stderr) begin.
pub const EXTRA_FD: i32 = 4;

/// The supervisor's first message: what kind of sandbox to make.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Begin {
    /// Without them, processes are plain children that share the machine's network and files.
    pub namespaces: bool,
}

/// Supervisor to sandbox. The first message is [`Request::Open`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub id: u64,
    pub request: Request,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Request {
    /// Make the hub. Answered by [`Reply::Done`].
    Open { network: MeshNetwork },
    /// Make a workload's namespace. [`Reply::Done`].
    Create {
        workload: String,
        address: Ipv4Addr,
        rules: RuleSet,
    },
    /// Replace a workload's rules. [`Reply::Done`].
    Rules { workload: String, rules: RuleSet },
    /// Forget a workload: its namespace ends with its processes. [`Reply::Done`].
    Destroy { workload: String },
    /// Start a process; descriptors: stdout, stderr, extra ones. [`Reply::Pid`].
    Spawn(Box<Spawn>),
    /// Send a signal, to a process or to its whole group. [`Reply::Done`].
    Signal { pid: i32, signal: i32, group: bool },
    /// An unconnected TCP socket inside a workload's namespace whose connections pass the
    /// capture rules. [`Reply::Done`] with the descriptor.
    Socket { workload: String },
    /// Namespace descriptors to enter with: net, mnt, pid and, if there is one, user.
    /// [`Reply::Done`] with the descriptors.
    Namespaces { workload: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reply {
    Done,
    Pid(i32),
}

/// Sandbox to supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Answer {
    /// The sandbox stands; sent once, before anything else.
    Ready(Capabilities),
    /// It could not be made; the process ends.
    Failed { message: String, forbidden: bool },
    /// To the request with `id`.
    Reply {
        id: u64,
        result: Result<Reply, String>,
    },
    /// A spawned process ended.
    Exited { pid: i32, status: Ended },
}

/// What kind of sandbox the machine allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// A user namespace was made: the supervisor is no root.
    pub rootless: bool,
    /// The sandbox has its own `/proc`.
    pub own_proc: bool,
    /// Workloads have namespaces. Without, requests about them succeed and do nothing, and
    /// sockets are the machine's.
    pub namespaces: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ended {
    /// The shell's convention: the code, or 128 + the signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }

    /// Exit code 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(name) => write!(f, "signal {name}"),
                Err(_) => write!(f, "signal {signal}"),
            },
        }
    }
}

/// What a process may do and where it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// In the workload's namespaces, without privileges. In a sandbox without namespaces only
    /// the ids and the privileges of the view count.
    Application(View),
    /// In the host's network with the sandbox's capabilities; the workload's network namespace
    /// is inherited as descriptor [`NETNS_FD`].
    Sidecar,
    /// In the host's network with the sandbox's capabilities (the control plane).
    System,
}

/// What an application sees instead of the machine's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Host name (the pod's name).
    pub hostname: String,
    /// Content of `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// Content of `/etc/hosts`.
    pub hosts: String,
    /// An existing directory to prepare the files in; hidden afterwards.
    pub staging: PathBuf,
    /// More directories to hide; those that do not exist are skipped.
    pub hide: Vec<PathBuf>,
    /// User id to run as (`runAsUser`); none: the supervisor's own. Rootless, the id is the
    /// process's own view of the one user there is.
    pub uid: Option<u32>,
    /// Group id to run as.
    pub gid: Option<u32>,
    /// The supervisor's real ids.
    pub owner: (u32, u32),
    /// Whether the sandbox is a user namespace.
    pub rootless: bool,
    /// Whom it can signal and trace.
    pub reach: Reach,
}

/// Which processes an application can signal and trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    /// Its own descendants, where the kernel can keep it from others (Linux 6.12, Landlock).
    Own,
    /// Whatever its user can: for commands beside a container, which may mean its processes.
    User,
}

/// A process to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spawn {
    /// The workload it belongs to; required for applications and sidecars.
    pub workload: Option<String>,
    /// Privileges and place.
    pub role: Role,
    /// Program and arguments; the program is looked up in the environment's PATH.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: Option<PathBuf>,
}
