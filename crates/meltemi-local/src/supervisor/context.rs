//! What every part of a running supervisor shares.

use super::processes::Processes;
use crate::events::Events;
use crate::paths::MeshPaths;
use crate::running::Mode;
use crate::sandbox::{Reach, View};
use crate::settings::LocalMesh;
use meltemi_config::Published;
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A log that has grown beyond this is set aside when its process starts again.
const LOG_BOUND: u64 = 16 << 20;
/// Variables of the supervisor's own environment that applications get.
const INHERITED: [&str; 10] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "JAVA_HOME",
];

pub(crate) struct Context {
    pub paths: MeshPaths,
    /// This program, for `meltemi` in commands and for the mesh's own processes.
    pub executable: PathBuf,
    pub version: String,
    /// Further arguments of the control plane.
    pub control_plane_args: Vec<String>,
    pub processes: Processes,
    pub events: Events,
    pub rootless: bool,
    pub mode: Mode,
    /// The configuration's objects.
    pub objects: watch::Receiver<Arc<Published>>,
    /// The mesh ends as a whole: no draining.
    pub shutdown: CancellationToken,
}

impl Context {
    /// What an application of `pod` sees.
    pub(crate) fn view(
        &self,
        settings: &LocalMesh,
        namespace: &str,
        pod: &str,
        address: Ipv4Addr,
        ids: (Option<u32>, Option<u32>),
    ) -> View {
        View {
            hostname: pod.to_owned(),
            resolv_conf: format!(
                "nameserver {}\nsearch {namespace}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
                settings.network.mesh().hub
            ),
            hosts: format!(
                "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{address}\t{pod}\n"
            ),
            staging: self.paths.root.clone(),
            hide: vec![self.paths.state.clone()],
            uid: ids.0,
            gid: ids.1,
            owner: (
                nix::unistd::getuid().as_raw(),
                nix::unistd::getgid().as_raw(),
            ),
            rootless: self.rootless,
            reach: Reach::User,
        }
    }

    /// Two descriptors of a log file, for stdout and stderr.
    pub(crate) fn log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> io::Result<(OwnedFd, OwnedFd)> {
        open_log(&self.paths.log(namespace, pod, container))
    }
}

/// Opens a log for appending; one that has grown too large becomes `NAME.1` first.
pub(crate) fn open_log(path: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    if let Some(directory) = path.parent() {
        crate::paths::private_directory(directory)?;
    }
    if fs::metadata(path).is_ok_and(|meta| meta.len() > LOG_BOUND) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    Ok((file.try_clone()?.into(), file.into()))
}

/// The environment every application starts from.
pub(crate) fn base_environment(pod: &str) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = INHERITED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect();
    variables.push(("HOSTNAME".into(), pod.to_owned()));
    variables
}

/// The environment of the mesh's own processes: the supervisor's.
pub(crate) fn own_environment() -> Vec<(String, String)> {
    std::env::vars().collect()
}
