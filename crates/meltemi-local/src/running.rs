//! Which meshes run: `mesh.json`, and the lock that only a living supervisor holds.

use crate::paths::{MeshPaths, write_atomically};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Name of the description in a run directory.
pub const FILE_NAME: &str = "mesh.json";
const LOCK: &str = "lock";

/// How applications are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Network namespaces and interception.
    Namespaces,
    /// Explicit loopback addresses, no interception.
    Loopback,
}

/// A running mesh, as `mesh.json` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshInfo {
    /// Its name.
    pub name: String,
    /// Its configuration directory.
    pub dir: PathBuf,
    /// The supervisor's process id.
    pub pid: i32,
    /// When that process started, in clock ticks since boot: tells it from a later one with
    /// the same id.
    pub start_time: u64,
    /// Where the ingress gateway is reached, without a path; none without a gateway.
    pub url: Option<String>,
    /// Version of Meltemi.
    pub version: String,
    /// How applications are connected.
    pub mode: Mode,
}

impl MeshInfo {
    /// Reads the description in a run directory; `None` when there is none.
    pub fn read(run: &Path) -> io::Result<Option<Self>> {
        match fs::read(run.join(FILE_NAME)) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the supervisor that wrote it still runs.
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    pub(crate) fn write(&self, run: &Path) -> io::Result<()> {
        write_atomically(&run.join(FILE_NAME), &serde_json::to_vec_pretty(self)?)
    }

    /// The living meshes below a runtime root, by name. Leftovers of killed ones are skipped.
    pub fn all(root: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut meshes: Vec<Self> = entries
            .flatten()
            .filter_map(|entry| Self::read(&entry.path()).ok().flatten())
            .filter(Self::is_alive)
            .collect();
        meshes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(meshes)
    }
}

/// A process's start in clock ticks since boot (field 22 of `/proc/PID/stat`).
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold spaces and parentheses: fields count from behind it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// Why a mesh cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It runs already.
    #[error("mesh {name} ({dir}) is running already{}; stop it with `meltemi down` or use it", pid.map(|pid| format!(", as process {pid}")).unwrap_or_default())]
    Running {
        /// Its name.
        name: String,
        /// Its configuration directory.
        dir: String,
        /// The supervisor.
        pid: Option<i32>,
    },
    /// The directories cannot be made.
    #[error("prepare the mesh's directories: {0}")]
    Io(#[from] io::Error),
}

/// The exclusive right to run a mesh. Held until dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Claim {
    _lock: Flock<File>,
    run: PathBuf,
}

impl Claim {
    /// Makes the mesh's directories and claims it. What a killed supervisor left is removed.
    pub fn take(paths: &MeshPaths) -> Result<Self, ClaimError> {
        paths.create()?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(paths.in_run(LOCK))?;
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                let pid = MeshInfo::read(&paths.run)
                    .ok()
                    .flatten()
                    .map(|info| info.pid);
                return Err(ClaimError::Running {
                    name: paths.name.clone(),
                    dir: paths.config.display().to_string(),
                    pid,
                });
            }
            Err((_, error)) => return Err(ClaimError::Io(error.into())),
        };
        let claim = Self {
            _lock: lock,
            run: paths.run.clone(),
        };
        claim.clear()?;
        paths.create()?;
        Ok(claim)
    }

    /// Removes all of the run directory but the lock.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.run)?
            .flatten()
            .filter(|entry| entry.file_name() != LOCK)
        {
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(path)?
            } else {
                fs::remove_file(path)?
            }
        }
        Ok(())
    }

    /// Gives the mesh up and removes its run directory.
    pub fn release(self) -> io::Result<()> {
        self.clear()?;
        fs::remove_dir_all(&self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(directory: &Path) -> MeshPaths {
        let config = directory.join("shop");
        fs::create_dir_all(&config).unwrap();
        let root = directory.join("run");
        let mut paths = MeshPaths::of(&config).unwrap();
        paths.run = root.join(&paths.name);
        paths.root = root;
        paths
    }

    #[test]
    fn one_supervisor_at_a_time_and_leftovers_go() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        let claim = Claim::take(&paths).unwrap();
        fs::write(paths.in_run("pods/old.yaml"), "x").unwrap();
        let text = Claim::take(&paths).unwrap_err().to_string();
        assert!(
            text.contains("running already") && text.contains("meltemi down"),
            "{text}"
        );
        drop(claim);
        let claim = Claim::take(&paths).unwrap();
        assert!(!paths.in_run("pods/old.yaml").exists() && paths.in_run("pods").exists());
        claim.release().unwrap();
        assert!(!paths.run.exists());
    }

    #[test]
    fn a_dead_supervisors_description_is_not_a_mesh() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        paths.create().unwrap();
        let pid = std::process::id() as i32;
        let mut info = MeshInfo {
            name: paths.name.clone(),
            dir: paths.config.clone(),
            pid,
            start_time: start_time(pid).unwrap(),
            url: None,
            version: "1".into(),
            mode: Mode::Namespaces,
        };
        info.write(&paths.run).unwrap();
        assert_eq!(
            MeshInfo::all(&paths.root).unwrap(),
            std::slice::from_ref(&info)
        );
        info.start_time += 1;
        info.write(&paths.run).unwrap();
        assert!(MeshInfo::all(&paths.root).unwrap().is_empty());
        assert!(MeshInfo::all(&paths.root.join("none")).unwrap().is_empty());
    }
}
