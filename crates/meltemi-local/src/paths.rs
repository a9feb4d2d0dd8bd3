//! Where a running mesh keeps its files.

use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The directories of one mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshPaths {
    /// The mesh's name: its configuration directory's, and six digits of its path.
    pub name: String,
    /// The configuration directory, canonical.
    pub config: PathBuf,
    /// All running meshes of this user.
    pub root: PathBuf,
    /// Sockets and status of this running mesh; in memory file systems where there is one.
    pub run: PathBuf,
    /// What outlives a run: keys, logs.
    pub state: PathBuf,
}

impl MeshPaths {
    /// The paths for a configuration directory, which must exist.
    pub fn of(config: &Path) -> io::Result<Self> {
        let config = fs::canonicalize(config)?;
        if !config.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("{} is not a directory", config.display()),
            ));
        }
        let digest = Sha256::digest(config.as_os_str().as_encoded_bytes());
        let short: String = digest
            .iter()
            .take(3)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let base = config
            .file_name()
            .map_or_else(|| "mesh".into(), |name| name.to_string_lossy());
        let name = format!("{base}-{short}");
        let root = runtime_root();
        Ok(Self {
            run: root.join(&name),
            state: config.join(".meltemi"),
            name,
            config,
            root,
        })
    }

    /// Makes the directories, private to the user.
    ///
    /// # Errors
    /// Also when the runtime root belongs to somebody else: in a shared `/tmp` that is an attack
    /// or an accident, and either way not ours to use.
    pub fn create(&self) -> io::Result<()> {
        private_directory(&self.root)?;
        for directory in [&self.run, &self.state] {
            private_directory(directory)?;
        }
        for name in ["credentials", "admin", "pods", "builtin", "bootstrap"] {
            private_directory(&self.run.join(name))?;
        }
        private_directory(&self.state.join("logs"))
    }

    /// A file or socket of the running mesh.
    pub fn in_run(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// The admin socket of a workload's proxy.
    pub fn admin_socket(&self, namespace: &str, pod: &str) -> PathBuf {
        self.run
            .join("admin")
            .join(format!("{namespace}.{pod}.sock"))
    }

    /// A container's log.
    pub fn log(&self, namespace: &str, pod: &str, container: &str) -> PathBuf {
        self.state
            .join("logs")
            .join(format!("{namespace}.{pod}"))
            .join(format!("{container}.log"))
    }
}

/// `$MELTEMI_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/meltemi`, else `/tmp/meltemi-UID`.
pub fn runtime_root() -> PathBuf {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("MELTEMI_RUNTIME_DIR")
        .or_else(|| set("XDG_RUNTIME_DIR").map(|directory| directory.join("meltemi")))
        .unwrap_or_else(|| PathBuf::from(format!("/tmp/meltemi-{}", nix::unistd::getuid())))
}

/// Makes a directory with mode 0700, or checks that an existing one is ours and private.
pub fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    match builder.recursive(true).mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) => {
            return Err(io::Error::new(
                error.kind(),
                format!("make {}: {error}", path.display()),
            ));
        }
    }
    let meta = fs::symlink_metadata(path)?;
    let owner = nix::unistd::geteuid().as_raw();
    if !meta.is_dir() || meta.uid() != owner {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} is not a directory of user {owner}; remove it or set MELTEMI_RUNTIME_DIR",
                path.display()
            ),
        ));
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Writes a file so that readers see the old content or the new, never a part.
pub fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    fs::write(&temporary, content)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_is_named_after_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("shop");
        fs::create_dir(&config).unwrap();
        let paths = MeshPaths::of(&config).unwrap();
        assert!(
            paths.name.starts_with("shop-") && paths.name.len() == "shop-".len() + 6,
            "{}",
            paths.name
        );
        assert_eq!(
            paths.state,
            fs::canonicalize(&config).unwrap().join(".meltemi")
        );
        assert!(MeshPaths::of(&directory.path().join("none")).is_err());
    }

    #[test]
    fn directories_are_private_and_files_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        private_directory(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        private_directory(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        write_atomically(&path.join("x.yaml"), b"one").unwrap();
        write_atomically(&path.join("x.yaml"), b"two").unwrap();
        assert_eq!(fs::read(path.join("x.yaml")).unwrap(), b"two");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(private_directory(&directory.path().join("file")).is_err());
    }
}
