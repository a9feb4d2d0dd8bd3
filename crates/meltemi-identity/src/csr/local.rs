//! Callers on this machine: a one-time credential over a Unix socket.
//!
//! Whoever starts a workload writes `HEX.json` into the directory of
//! credentials, HEX being the SHA-256 of a random token, and hands the token to
//! the workload's proxy. The first process that presents the token is its owner
//! from then on: `HEX.bound` records which process that is, and the kernel
//! tells us who is calling (`SO_PEERCRED`). A copied token is of no use to any
//! other process.
//!
//! This separates workloads, it does not isolate them: a process that may trace
//! or impersonate the proxy is the proxy.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::warn;

use super::{Authenticator, Caller, Peer, PeerAddress, Refusal, digest, process};
use crate::{SpiffeId, TrustDomain};

/// Tokens shorter than 128 bits in base64 could be guessed; longer ones than
/// this are no tokens.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 22..=512;
/// Largest file read here.
const MAX_FILE_BYTES: u64 = 4096;

static TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// The workload a credential stands for: the content of `HEX.json`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalWorkload {
    /// Namespace of the pod.
    pub namespace: String,
    /// Service account the pod runs as.
    pub service_account: String,
    /// Name of the workload, usually of its Deployment.
    pub workload: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub uid: String,
}

/// Admits processes of this machine by their credentials.
#[derive(Clone, Debug)]
pub struct LocalCredentials {
    directory: PathBuf,
    trust_domain: TrustDomain,
}

impl LocalCredentials {
    /// Looks for credentials in a directory that only the owner of the mesh may
    /// write to.
    pub fn new(directory: impl Into<PathBuf>, trust_domain: TrustDomain) -> Self {
        Self {
            directory: directory.into(),
            trust_domain,
        }
    }

    /// The base name of a token's files: its SHA-256 in hexadecimal.
    pub fn file_stem(token: &str) -> String {
        digest(token)
    }

    /// The workload of a process that presents a token. The first process binds
    /// the token to itself.
    ///
    /// # Errors
    /// When there is no such credential, or it belongs to another process. The
    /// refusal says which, never the token.
    pub fn identify(&self, pid: i32, token: &str) -> Result<LocalWorkload, Refusal> {
        let refuse = |problem: &str| Refusal(format!("credential refused: {problem}"));
        if !TOKEN_BYTES.contains(&token.len()) {
            return Err(refuse("not a token of this mesh"));
        }
        let stem = Self::file_stem(token);
        let path = self.directory.join(format!("{stem}.json"));
        let content = match read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(refuse("unknown token; restart the workload to get another"));
            }
            Err(error) => {
                warn!(path = %path.display(), "credential cannot be read: {error}");
                return Err(refuse(
                    "its record cannot be read; see the control plane's log",
                ));
            }
        };
        let workload: LocalWorkload = serde_json::from_str(&content).map_err(|error| {
            warn!(path = %path.display(), "malformed credential: {error}");
            refuse("its record is malformed; see the control plane's log")
        })?;
        let caller = process::identify(pid)
            .map_err(|error| refuse(&format!("process {pid} cannot be looked up: {error}")))?;
        let owner = self.bind(&stem, &caller).map_err(|error| {
            warn!(stem, "credential cannot be bound: {error}");
            refuse("it cannot be bound to the process; see the control plane's log")
        })?;
        if owner != caller {
            warn!(
                namespace = workload.namespace,
                pod = workload.pod,
                pid,
                "a credential was presented by another process than its owner ({owner})"
            );
            return Err(refuse("it belongs to another process"));
        }
        Ok(workload)
    }

    /// Records the caller as owner unless there is one; returns the owner.
    fn bind(&self, stem: &str, caller: &str) -> io::Result<String> {
        let bound = self.directory.join(format!("{stem}.bound"));
        match read(&bound) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            owner => return owner,
        }
        // Written apart and linked to its name: whoever reads it reads all of
        // it, and of two callers at once exactly one succeeds.
        let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
        let temporary = self
            .directory
            .join(format!(".{stem}.{}.{number}", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        let linked = file
            .write_all(caller.as_bytes())
            .and_then(|()| std::fs::hard_link(&temporary, &bound));
        std::fs::remove_file(&temporary)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => read(&bound),
        }
    }
}

impl Authenticator for LocalCredentials {
    fn authenticate(&self, peer: &Peer) -> Result<Option<Caller>, Refusal> {
        let (PeerAddress::Unix { pid, .. }, Some(token)) = (&peer.address, &peer.token) else {
            return Ok(None);
        };
        let pid = pid.ok_or_else(|| {
            Refusal(
                "credential refused: the calling process is in a PID namespace the control plane \
                 does not see"
                    .to_owned(),
            )
        })?;
        let workload = self.identify(pid, token)?;
        let id = SpiffeId::new(
            self.trust_domain.clone(),
            &workload.namespace,
            &workload.service_account,
        )
        .map_err(|error| Refusal(format!("credential refused: {error}")))?;
        Ok(Some(Caller {
            id,
            evidence: format!("credential of pod {}/{}", workload.namespace, workload.pod),
        }))
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut content = String::new();
    std::fs::File::open(path)?
        .take(MAX_FILE_BYTES)
        .read_to_string(&mut content)?;
    Ok(content)
}
