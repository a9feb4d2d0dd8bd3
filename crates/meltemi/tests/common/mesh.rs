//! A mesh of its own: a copy of a configuration directory, its runtime and state beside it,
//! and `meltemi` run on it.

use super::http::{Request, Response};
use super::output::{Output, run};
use super::ports::free_port;
use super::process::{Killed, marked, signal};
use super::wait::{attempt, until};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The workload without a sidecar, by the suites' agreement.
pub const OUTSIDER: &str = "outsider";
/// For a mesh to be up.
const UP: Duration = Duration::from_secs(120);
/// For it to go.
const DOWN: Duration = Duration::from_secs(30);
/// For one command.
const COMMAND: Duration = Duration::from_secs(60);
/// For a change to be in force everywhere.
const SETTLE: Duration = Duration::from_secs(15);

pub struct Mesh {
    program: PathBuf,
    /// Everything of this mesh is below it.
    pub home: PathBuf,
    /// The configuration.
    pub dir: PathBuf,
    /// Of the ingress gateway, on loopback.
    pub port: u16,
    process: Mutex<Option<Killed>>,
}

impl Mesh {
    /// Brings up `dir`, which is used as it is, with everything else in `home`.
    ///
    /// # Errors
    /// What it said when it did not come up.
    pub fn up(program: &Path, home: &Path, dir: &Path, flags: &[&str]) -> Result<Self, String> {
        let mesh = Self::unstarted(program, home, dir);
        mesh.start(flags)?;
        Ok(mesh)
    }

    /// As [`Mesh::up`], but for the starting.
    pub fn unstarted(program: &Path, home: &Path, dir: &Path) -> Self {
        for name in ["r", "state", "bin"] {
            std::fs::create_dir_all(home.join(name)).expect("a directory for the mesh");
        }
        let own = home.join("bin/meltemi");
        // A program of its own: every process of this mesh can be told by it.
        if std::fs::hard_link(program, &own).is_err() {
            std::fs::copy(program, &own).expect("a copy of the program");
        }
        Self {
            program: own,
            home: home.to_owned(),
            dir: dir.to_owned(),
            port: free_port(),
            process: Mutex::new(None),
        }
    }

    /// Runs `up` again on the same directories and port.
    ///
    /// # Errors
    /// As [`Mesh::up`].
    pub fn start(&self, flags: &[&str]) -> Result<(), String> {
        let file = |name: &str| std::fs::File::create(self.home.join(name));
        let mut command = self.command();
        command
            .arg("up")
            .arg(&self.dir)
            .args(["--port", &self.port.to_string()]);
        command
            .args(["--wait-timeout", "90s"])
            .args(flags)
            .stdin(Stdio::null());
        command.stdout(file("up.out").map_err(|error| error.to_string())?);
        command.stderr(file("up.err").map_err(|error| error.to_string())?);
        let mut process = Killed::spawn(command)
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        let up = attempt(UP, || {
            if self.said().contains(" is up in ") {
                return Ok(true);
            }
            match process.status() {
                Some(_) => Ok(false),
                None => Err("no summary".into()),
            }
        });
        *self.lock() = Some(process);
        match up {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("`up` ended\n{}", self.story())),
            Err(reason) => Err(format!("`up` takes too long: {reason}\n{}", self.story())),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Killed>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `up` printed for people.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.home.join("up.out")).unwrap_or_default()
    }

    /// Process id of `up`.
    pub fn pid(&self) -> i32 {
        self.lock().as_ref().map_or(0, |process| process.pid)
    }

    /// `meltemi` with this mesh's environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.home)
            .env("MELTEMI_RUNTIME_DIR", self.home.join("r"))
            .env("XDG_STATE_HOME", self.home.join("state"))
            .env("HOME", &self.home)
            .env("NO_COLOR", "1")
            .env_remove("MELTEMI_MESH");
        command
    }

    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_with_input(arguments, "")
    }

    pub fn cli_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command();
        command.args(arguments);
        run(command, input.as_bytes(), COMMAND)
    }

    /// Runs a command inside a workload.
    pub fn exec(&self, workload: &str, command: &[&str]) -> Output {
        let arguments: Vec<&str> = ["exec", workload, "--"]
            .iter()
            .chain(command)
            .copied()
            .collect();
        self.cli(&arguments)
    }

    /// `meltemi status -o json`, whatever its exit code.
    pub fn status(&self) -> Value {
        let output = self.cli(&["status", "-o", "json"]);
        serde_json::from_str(&output.stdout)
            .unwrap_or_else(|error| panic!("status: {error}\n{output}"))
    }

    /// A workload of the status by the beginning of its pod's name; waited for.
    ///
    /// # Panics
    /// When there is none.
    pub fn workload(&self, prefix: &str) -> Value {
        until(prefix, SETTLE, || {
            let status = self.status();
            let found = workloads(&status).find(|w| text(w, "name").starts_with(prefix));
            found
                .cloned()
                .ok_or_else(|| format!("no such workload in {status:#}"))
        })
    }

    /// Address of a pod.
    pub fn ip(&self, prefix: &str) -> String {
        until(&format!("the address of {prefix}"), SETTLE, || {
            let workload = self.workload(prefix);
            let address = text(&workload, "ip");
            match workload["ready"] == true && !address.is_empty() {
                true => Ok(address.to_owned()),
                false => Err(brief(&workload)),
            }
        })
    }

    /// Waits until every workload is ready and has the current configuration.
    pub fn settled(&self) {
        until("every workload ready and in sync", SETTLE, || {
            let status = self.status();
            let errors = &status["control_plane"]["errors"];
            if !errors.as_array().is_some_and(|errors| errors.is_empty()) {
                return Err(format!("errors: {errors:#}"));
            }
            let behind: Vec<String> = workloads(&status).filter_map(unsettled).collect();
            if behind.is_empty() {
                Ok(())
            } else {
                Err(behind.join("\n"))
            }
        });
    }

    pub fn config_version(&self) -> String {
        self.status()["control_plane"]["config_version"].to_string()
    }

    /// Applies a file and waits until it is in force.
    pub fn apply(&self, file: &Path) -> Output {
        let file = file.to_str().expect("paths of tests are UTF-8");
        self.cli(&["apply", "--wait", "-f", file])
            .expect_success(file)
    }

    /// Applies YAML and waits until it is in force.
    pub fn apply_text(&self, yaml: &str) -> Output {
        self.cli_with_input(&["apply", "--wait", "-f", "-"], yaml)
            .expect_success("apply")
    }

    pub fn request(&self, path: &str) -> Request {
        Request::get(self.port, path)
    }

    /// # Panics
    /// When there is no answer.
    pub fn get(&self, path: &str) -> Response {
        let result = self.request(path).send();
        result.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Processes of this mesh whose command line holds every one of `words`.
    pub fn processes(&self, words: &[&str]) -> Vec<i32> {
        let mut all = marked(self.home.to_str().expect("paths of tests are UTF-8"));
        all.retain(|(_, line)| words.iter().all(|word| line.contains(word)));
        all.into_iter().map(|(pid, _)| pid).collect()
    }

    /// Kills `up` without a word.
    pub fn kill_supervisor(&self) {
        drop(self.lock().take());
    }

    /// `meltemi down`; `up` must end with exit code 0, and nothing may be left.
    pub fn down(&self) {
        self.cli(&["down"]).expect_success("down");
        if let Some(mut process) = self.lock().take() {
            let status = until("`up` ends", DOWN, || {
                process.status().ok_or_else(|| "it runs".into())
            });
            assert!(
                status.success(),
                "`up` ended with {status}\n{}",
                self.story()
            );
        }
        self.nothing_left();
    }

    /// # Panics
    /// When a process, a mount or a file of the running mesh is still there.
    pub fn nothing_left(&self) {
        let home = self.home.to_str().expect("paths of tests are UTF-8");
        until("no process is left", DOWN, || {
            let left = marked(home);
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        });
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounts: Vec<&str> = mounts.lines().filter(|line| line.contains(home)).collect();
        assert!(mounts.is_empty(), "mounts are left: {mounts:?}");
    }

    /// What is needed to understand a failure.
    pub fn story(&self) -> String {
        let mut out = String::new();
        for name in ["up.out", "up.err"] {
            let text = std::fs::read_to_string(self.home.join(name)).unwrap_or_default();
            out += &format!("--- {name}\n{}\n", tail(&text, 40));
        }
        for log in logs(&self.dir.join(".meltemi/logs")) {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if !text.is_empty() {
                out += &format!("--- {}\n{}\n", log.display(), tail(&text, 6));
            }
        }
        out
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // After a failure the story is told already.
        let _ = catch_unwind(AssertUnwindSafe(|| self.cli(&["down"])));
        self.kill_supervisor();
        for (pid, _) in marked(self.home.to_str().unwrap_or("no such mark")) {
            signal(pid, libc::SIGKILL);
        }
    }
}

/// Why a workload is not settled. One that has no sidecar needs none.
fn unsettled(workload: &Value) -> Option<String> {
    let proxy = &workload["proxy"];
    let has_sidecar = text(workload, "workload") != OUTSIDER;
    let synced = proxy["synced"] == true || !has_sidecar;
    let ready = workload["ready"] == true;
    (!ready || !synced).then(|| brief(workload))
}

/// A workload of the status in a line.
pub fn brief(workload: &Value) -> String {
    format!(
        "{} ready: {}, reason: {}, restarts: {}, proxy: {}",
        text(workload, "name"),
        workload["ready"],
        workload["reason"],
        workload["restarts"],
        workload["proxy"]
    )
}

pub fn workloads(status: &Value) -> impl Iterator<Item = &Value> {
    status["workloads"].as_array().into_iter().flatten()
}

pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The last lines of a text, each cut.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.chars().take(300).collect())
        .collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Log files, in the order of their names.
fn logs(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(logs(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}
