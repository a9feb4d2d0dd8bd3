//! A mesh for the tests of the supervisor: its directory, its events, its pods.

use crate::fixture::{PATIENCE, block_on, helper};
use meltemi_local::events::{Event, Events};
use meltemi_local::paths::MeshPaths;
use meltemi_local::supervisor::{Options, UpError, up};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const SERVER: &str = "import http.server,os;print('starting',flush=True);http.server.HTTPServer(('',8000),http.server.BaseHTTPRequestHandler).serve_forever()";

pub struct Mesh {
    pub directory: tempfile::TempDir,
    events: UnboundedReceiver<Event>,
    seen: Vec<Event>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), UpError>>,
}

pub fn config(directory: &Path) -> PathBuf {
    directory.join("config")
}

pub fn write(directory: &Path, name: &str, documents: &[Value]) {
    let text: Vec<String> = documents.iter().map(Value::to_string).collect();
    fs::write(config(directory).join(name), text.join("\n---\n")).unwrap();
}

pub fn settings(directory: &Path, images: Value) {
    let document = json!({"apiVersion": "meltemi.dev/v1alpha1", "kind": "LocalMesh", "images": images, "gateways": []});
    fs::write(config(directory).join("meltemi.yaml"), document.to_string()).unwrap();
}

pub fn server() -> Value {
    json!([{"image": "web:*", "command": ["python3", "-c", SERVER]}])
}

pub fn deployment(name: &str, replicas: u32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "main", "image": image,
                        "env": [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}}],
                        "readinessProbe": {"tcpSocket": {"port": 8000}},
                    }],
                },
            },
        },
    })
}

pub fn config_map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"mode": "fast"}})
}

impl Mesh {
    pub fn prepare() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(config(directory.path())).unwrap();
        // SAFETY: the process has one thread so far.
        unsafe { std::env::set_var("MELTEMI_RUNTIME_DIR", directory.path().join("run")) };
        settings(directory.path(), server());
        directory
    }

    /// With one Deployment, `web`, and what it refers to.
    pub fn of_web(replicas: u32) -> tempfile::TempDir {
        let directory = Self::prepare();
        let web = deployment("web", replicas, "web:1");
        write(directory.path(), "web.yaml", &[web, config_map()]);
        directory
    }

    pub fn start(directory: tempfile::TempDir) -> Self {
        let stop = CancellationToken::new();
        let (events, receiver) = Events::channel();
        let task = tokio::spawn(up(options(directory.path()), events, stop.clone()));
        Self {
            directory,
            events: receiver,
            seen: Vec::new(),
            stop,
            task,
        }
    }

    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            let Ok(Some(event)) = next else {
                let logs = Command::new("sh")
                    .arg("-c")
                    .arg(format!(
                        "tail -n 5 {}/config/.meltemi/logs/*/*",
                        self.directory.path().display()
                    ))
                    .output();
                panic!(
                    "{what} did not come; seen: {:#?}\n{}",
                    self.seen,
                    String::from_utf8_lossy(&logs.unwrap().stdout)
                );
            };
            self.seen.push(event.clone());
            if wanted(&event) {
                return event;
            }
        }
    }

    pub async fn ready(&mut self) -> Event {
        self.until("Ready", |event| matches!(event, Event::Ready { .. }))
            .await
    }

    pub fn run_dir(&self) -> PathBuf {
        MeshPaths::of(&config(self.directory.path())).unwrap().run
    }

    pub fn pods(&self) -> Vec<Value> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.run_dir().join("pods"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files.retain(|file| !file.file_name().unwrap().to_str().unwrap().starts_with('.'));
        files
            .iter()
            .filter_map(|file| serde_json::from_slice(&fs::read(file).ok()?).ok())
            .collect()
    }

    pub async fn until_pods(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) {
        let begin = std::time::Instant::now();
        while !wanted(&self.pods()) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {:#?}", self.pods());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    pub async fn down(self) {
        let run = self.run_dir();
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(!run.exists());
    }

    /// Starts a program through `enter`, whose own process must be single-threaded.
    pub fn enter(&self, words: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .arg("enter")
            .arg(self.run_dir())
            .args(words)
            .stdin(Stdio::null());
        command
    }

    pub async fn output(&self, words: &[&str]) -> (i32, String) {
        let mut command = self.enter(words);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }
}

pub fn options(directory: &Path) -> Options {
    let mut options = Options::new(config(directory), "test").unwrap();
    options.sandbox = helper();
    options
}

/// The command `up DIR`: a mesh until it is killed.
pub fn up_forever(directory: &str) -> ExitCode {
    let (events, _receiver) = Events::channel();
    block_on(async {
        up(
            options(Path::new(directory)),
            events,
            CancellationToken::new(),
        )
        .await
        .unwrap()
    });
    ExitCode::SUCCESS
}

pub fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
