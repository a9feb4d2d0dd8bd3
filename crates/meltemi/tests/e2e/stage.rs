//! What a run needs on disk, readable for every user: the programs, the samples.

use crate::common::output;
use crate::common::runner::Report;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const NOBODY: u32 = 65534;
const VARIABLE: &str = "MELTEMI_E2E_STAGE";

/// The role in which every proxy is Envoy; played by an ordinary user where there is one.
pub const ENVOY: &str = "envoy";
/// The role in which some are.
pub const MIXED: &str = "mixed";

pub struct Stage {
    pub dir: PathBuf,
    /// Whether an ordinary user can have a mesh here.
    user: bool,
    /// Removes it at the end; none in a role's process.
    owned: Option<tempfile::TempDir>,
}

impl Stage {
    pub fn make() -> Self {
        let owned = tempfile::Builder::new().prefix("mt-").tempdir().unwrap();
        let dir = owned.path().to_owned();
        open(&dir, 0o755);
        std::fs::create_dir(dir.join("bin")).unwrap();
        let own = std::env::current_exe().unwrap();
        for (from, name) in [
            (Path::new(env!("CARGO_BIN_EXE_meltemi")), "meltemi"),
            (&own, "e2e"),
        ] {
            let to = dir.join("bin").join(name);
            std::fs::copy(from, &to).unwrap();
            open(&to, 0o755);
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        copy_tree(&root.join("samples"), &dir.join("samples"));
        let istio = root.join("../shared/data/istio-samples/bookinfo");
        if istio.is_dir() {
            copy_tree(&istio, &dir.join("istio"));
        } else {
            println!(
                "skipped: Istio's own bookinfo files: {} not found; this repository's samples take their place",
                istio.display()
            );
        }
        Self {
            dir,
            user: false,
            owned: Some(owned),
        }
    }

    /// In a role's process.
    pub fn given() -> Self {
        let dir = std::env::var_os(VARIABLE).expect("the suite's main process sets it");
        Self {
            dir: dir.into(),
            user: false,
            owned: None,
        }
    }

    pub fn meltemi(&self) -> PathBuf {
        self.dir.join("bin/meltemi")
    }

    /// This suite's program, which has tools for use inside pods.
    pub fn tool(&self) -> PathBuf {
        self.dir.join("bin/e2e")
    }

    /// The roles that can be played here.
    pub fn roles(&mut self, report: &mut Report) -> Vec<&'static str> {
        let mut roles = Vec::new();
        if is_root() {
            roles.push("root");
        } else {
            report.skip("as root", "the tests run as an ordinary user");
        }
        match user_namespaces() {
            Ok(()) => {
                self.user = true;
                roles.push("user");
            }
            Err(error) => report.skip(
                "as an ordinary user",
                &format!("user namespaces are forbidden here: {error}"),
            ),
        }
        match self.bring_envoy() {
            Ok(()) if !roles.is_empty() => roles.extend([ENVOY, MIXED]),
            Ok(()) => {}
            Err(reason) => report.skip("with Envoy", &reason),
        }
        roles
    }

    /// Where every user can run it.
    fn bring_envoy(&self) -> Result<(), String> {
        let found = crate::common::envoy::find()?;
        let to = self.dir.join("bin/envoy");
        std::fs::copy(&found, &to).map_err(|error| format!("{}: {error}", found.display()))?;
        open(&to, 0o755);
        Ok(())
    }

    /// Runs tests in a process of that role, showing what it prints. Its closing line, and
    /// whether it succeeded.
    pub fn run_as(&self, role: &str, names: &[&str]) -> (Option<String>, bool) {
        let home = self.dir.join(role);
        std::fs::create_dir(&home).unwrap();
        let mut command = Command::new(self.tool());
        command
            .arg("as")
            .arg(role)
            .args(names)
            .env(VARIABLE, &self.dir);
        command
            .env("RUST_BACKTRACE", "0")
            .env("TMPDIR", &home)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if matches!(role, "user" | ENVOY) && self.user && is_root() {
            std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
            command
                .uid(NOBODY)
                .gid(NOBODY)
                .env_remove("XDG_RUNTIME_DIR");
        }
        // The panics' messages come on standard error: into one stream, in their order.
        // SAFETY: one system call between fork and exec.
        unsafe {
            command.pre_exec(|| match libc::dup2(1, 2) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        let mut child = crate::common::process::spawn(command).unwrap();
        let mut closing = None;
        for line in BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
        {
            if line.starts_with("test result:") {
                closing = Some(line);
            } else {
                println!("{line}");
            }
        }
        let success = child.wait().unwrap().success();
        (closing, success)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::env::var_os("MELTEMI_E2E_KEEP").is_some()
            && let Some(owned) = self.owned.take()
        {
            println!("kept: {}", owned.keep().display());
        }
    }
}

/// Whether an ordinary user may make one.
fn user_namespaces() -> std::io::Result<()> {
    let mut probe = Command::new("/bin/true");
    if is_root() {
        probe.uid(NOBODY).gid(NOBODY);
    }
    // SAFETY: one system call between fork and exec.
    unsafe {
        probe.pre_exec(|| match libc::unshare(libc::CLONE_NEWUSER) {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    probe.status().map(drop)
}

pub fn is_root() -> bool {
    // SAFETY: it only asks.
    unsafe { libc::geteuid() == 0 }
}

/// Whether a program is on the PATH; says what is skipped when not.
pub fn has(program: &str, test: &str) -> bool {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("command -v {program} && {program} --version"),
    ]);
    let found = output::run(command, b"", Duration::from_secs(20)).code == 0;
    if !found {
        println!("skipped: {test}: {program} is not installed");
    }
    found
}

pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    open(to, 0o755);
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
            open(&target, 0o644);
        }
    }
}

fn open(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
