//! What `up` tells while it works and when it is done.

#![expect(unsafe_code, reason = "a descriptor that the parent handed over")]

use super::page;
use crate::mesh::Mesh;
use crate::output::{Colour, colour, table};
use anyhow::Context;
use meltemi_local::events::Event;
use meltemi_local::running::Mode;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Where the report goes: the terminal, or a parent that waits for a detached mesh.
pub struct Report {
    parent: Option<File>,
    started: Instant,
    done: bool,
}

/// Before the summary, on a line of its own, when a parent reads.
pub const READY_MARK: &str = "\u{1}ready";
/// Before what kept the mesh from becoming ready.
pub const FAILED_MARK: &str = "\u{1}failed";

impl Report {
    pub fn new(parent: Option<RawFd>) -> anyhow::Result<Self> {
        // SAFETY: `up --detach` passes this descriptor for us alone.
        let parent = parent.map(|fd| File::from(unsafe { OwnedFd::from_raw_fd(fd) }));
        if let Some(parent) = &parent {
            // The mesh's own processes must not keep the pipe open.
            let cloexec = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
            nix::fcntl::fcntl(parent, cloexec).context("the report's descriptor")?;
        }
        Ok(Self {
            parent,
            started: Instant::now(),
            done: false,
        })
    }

    pub async fn event(&mut self, event: &Event) {
        let line = match event {
            Event::Sandbox { rootless: true } => "sandbox ready (as an ordinary user)".to_owned(),
            Event::Sandbox { rootless: false } => "sandbox ready (as root)".to_owned(),
            Event::Loopback { why } => {
                if let Some(why) = why {
                    let text = format!("network namespaces are not possible here: {why}");
                    self.progress(&format!("{} {text}", mark(Colour::Yellow, "!")));
                }
                "loopback mode: services are at explicit addresses, nothing is intercepted"
                    .to_owned()
            }
            Event::ControlPlane { restarts: 0 } => "control plane ready".to_owned(),
            Event::ControlPlane { restarts } => {
                format!("control plane is back (restart {restarts})")
            }
            Event::Restarting { what, why } => format!("restarting {what}: {why}"),
            Event::PodStarting { pod, address } => format!("starting {pod} at {address}"),
            Event::PodReady { pod } => format!("{} {pod} is ready", mark(Colour::Green, "✓")),
            Event::PodProblem {
                pod,
                reason,
                message,
            } => {
                let cross = mark(Colour::Red, "✗");
                format!("{cross} {pod}: {reason}: {message}")
            }
            Event::PodStopped { pod } => format!("stopped {pod}"),
            Event::Published {
                pod,
                port,
                at,
                moved,
            } => {
                let why = if *moved {
                    " (the usual port is taken)"
                } else {
                    ""
                };
                format!("port {port} of {pod} is open at {at}{why}")
            }
            Event::Notice { what, message } => format!("note: {what}: {message}"),
            Event::Configuration { message } => format!("{} {message}", mark(Colour::Red, "✗")),
            Event::Stopping => "stopping ...".to_owned(),
            Event::Stopped => "stopped".to_owned(),
            Event::Ready { blocked, .. } => {
                let summary = self.summary(blocked).await;
                self.done = true;
                self.ready(&summary);
                return;
            }
        };
        self.progress(&line);
    }

    /// The mesh did not become ready in time.
    pub fn late(&mut self, patience: Duration) {
        let mut text = format!(
            "not ready within {} s; the mesh is stopped\n",
            patience.as_secs()
        );
        for problem in problems() {
            let _ = writeln!(text, "  {problem}");
        }
        match &mut self.parent {
            Some(parent) => {
                let _ = write!(parent, "{FAILED_MARK}\n{text}");
            }
            None => eprint!("error: {text}"),
        }
    }

    fn progress(&mut self, line: &str) {
        let seconds = self.started.elapsed().as_secs_f32();
        match &mut self.parent {
            // A parent that is gone needs no report.
            Some(parent) if !self.done => drop(writeln!(parent, "{seconds:5.1}s  {line}")),
            Some(_) => {}
            None => eprintln!("{seconds:5.1}s  {line}"),
        }
    }

    fn ready(&mut self, summary: &str) {
        match &mut self.parent {
            Some(parent) => drop(write!(parent, "{READY_MARK}\n{summary}")),
            None => drop(crate::output::write(summary)),
        }
        self.parent = self.parent.take().filter(|_| !self.done);
    }

    async fn summary(&self, blocked: &[String]) -> String {
        let mesh = own_mesh();
        if let Ok(mesh) = &mesh {
            settle(mesh, blocked).await;
        }
        let seconds = self.started.elapsed().as_secs_f32();
        match mesh {
            Ok(mesh) => summary(&mesh, seconds, blocked).await,
            Err(error) => format!("the mesh is up in {seconds:.1} s ({error:#})\n"),
        }
    }
}

fn mark(in_colour: Colour, text: &str) -> String {
    if std::io::stderr().is_terminal() {
        colour(in_colour, text)
    } else {
        text.to_owned()
    }
}

/// The mesh that this process supervises.
fn own_mesh() -> anyhow::Result<Mesh> {
    let root = meltemi_local::paths::runtime_root();
    let own = std::process::id() as i32;
    let info = meltemi_local::running::MeshInfo::all(&root)?
        .into_iter()
        .find(|mesh| mesh.pid == own)
        .context("it is not listed")?;
    Mesh::find(Some(&info.name))
}

/// Every pod that is not ready, and why.
fn problems() -> Vec<String> {
    let pods = own_mesh().and_then(|mesh| mesh.pods()).unwrap_or_default();
    let unready = pods.into_iter().filter(|pod| !pod.ready);
    unready
        .map(|pod| {
            let why = pod.why.as_deref().unwrap_or("is still starting");
            format!("{}/{}: {why}", pod.namespace, pod.name)
        })
        .collect()
}

/// How long the proxies may take to follow what is ready.
const SETTLING: Duration = Duration::from_secs(10);

/// Waits until every proxy knows of every ready pod: the first request must not find an
/// endpoint missing.
async fn settle(mesh: &Mesh, blocked: &[String]) {
    let api = mesh.api();
    let settled = async {
        loop {
            if let Ok(status) = api.get::<Value>("/v1/status").await
                && follows(&status, blocked)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // What is not settled by then shows in `meltemi status`.
    let _ = tokio::time::timeout(SETTLING, settled).await;
}

fn follows(status: &Value, blocked: &[String]) -> bool {
    let workloads = status["workloads"].as_array().into_iter().flatten();
    workloads
        .filter(|workload| {
            let text = |key: &str| workload[key].as_str().unwrap_or("");
            !blocked.contains(&format!("{}/{}", text("namespace"), text("name")))
        })
        .all(|workload| {
            let follows = workload["proxy"]["synced"] == true || workload["injected"] == false;
            workload["ready"] == true && follows
        })
}

async fn summary(mesh: &Mesh, seconds: f32, blocked: &[String]) -> String {
    let mut out = format!("\nmesh {} is up in {seconds:.1} s\n\n", mesh.info.name);
    let pods = mesh.pods().unwrap_or_default();
    let rows: Vec<Vec<String>> = pods
        .iter()
        .map(|pod| {
            let ready = if pod.ready { "yes" } else { "no" };
            vec![
                pod.namespace.clone(),
                pod.workload.clone(),
                pod.address.clone(),
                ready.to_owned(),
            ]
        })
        .collect();
    out.push_str(&table(
        &["NAMESPACE", "WORKLOAD", "ADDRESS", "READY"],
        &rows,
    ));
    for pod in blocked {
        let _ = writeln!(
            out,
            "\n{} {pod} cannot run; `meltemi status` says why",
            colour(Colour::Red, "✗")
        );
    }
    match (&mesh.info.url, page::first(mesh).await) {
        (Some(url), Some(path)) => drop(writeln!(out, "\n  open  {url}{path}")),
        (Some(url), None) => drop(writeln!(
            out,
            "\n  the ingress gateway will be at {url} once a Gateway with routes, or an Ingress, opens it"
        )),
        (None, _) => {}
    }
    if let Some(warnings) = warnings(mesh).await.filter(|count| *count > 0) {
        let _ = writeln!(
            out,
            "\n{} {warnings} warnings; `meltemi status` shows them",
            colour(Colour::Yellow, "!")
        );
    }
    let any = pods.iter().find(|pod| !pod.labels.contains_key("istio"));
    out.push_str("\n  try   meltemi status\n");
    if let Some(pod) = any {
        let app = pod.labels.get("app").unwrap_or(&pod.workload);
        let _ = writeln!(out, "        meltemi logs {app} --proxy");
        let _ = writeln!(out, "        meltemi proxy-config route {app}");
        if mesh.info.mode == Mode::Loopback {
            let _ = writeln!(
                out,
                "        meltemi exec {app} -- env    (where it finds the services)"
            );
        }
    }
    let _ = writeln!(
        out,
        "        meltemi apply -f FILE      (or edit {})",
        mesh.info.dir.display()
    );
    out.push_str("        meltemi down\n");
    out
}

async fn warnings(mesh: &Mesh) -> Option<usize> {
    let status: Value = mesh.api().get("/v1/status").await.ok()?;
    Some(status["control_plane"]["warnings"].as_array()?.len())
}
