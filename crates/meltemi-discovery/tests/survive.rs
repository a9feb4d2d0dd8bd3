//! A control plane that is stopped, started again, robbed of its notes or given broken files:
//! what it serves is what is written, or what was in force before; never a part of either.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use envoy_types::pb::envoy::config::core::v3::Node;
use meltemi_discovery::control_plane::{self, Options};
use meltemi_xds::client::{AdsClient, ClientOptions, Endpoint, Update};
use meltemi_xds::type_url;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(60);

fn service(name: &str, ports: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: {name}}}\n  ports: [{ports}]\n"
    )
}

fn http(port: u16) -> String {
    format!("{{name: http-{port}, port: {port}}}")
}

/// A directory that a control plane takes for its state.
fn private() -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

/// The state as a killed process leaves it. In a test nothing can be killed: the one before
/// may hold its files a little longer, so the next one gets a copy.
fn left_behind(state: &TempDir) -> TempDir {
    let copy = private();
    for entry in fs::read_dir(state.path()).unwrap() {
        let entry = entry.unwrap();
        // Copies the mode too.
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

struct Plane {
    task: JoinHandle<()>,
    stop: CancellationToken,
    updates: mpsc::Receiver<Update>,
    _client: AdsClient,
    clusters: BTreeMap<String, String>,
}

impl Plane {
    /// Starts a control plane and connects a proxy that asks for clusters.
    async fn start(config: &Path, state: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap();
        drop(port);
        let options = Options {
            plaintext_address: Some(address),
            ..Options::new(config, state)
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { control_plane::run(options, stopped).await.unwrap() });
        let node = Node {
            id: "sidecar~10.0.0.1~client.default~default.svc.cluster.local".to_owned(),
            ..Default::default()
        };
        let endpoint = Endpoint::Tcp {
            address: address.to_string(),
            tls: None,
        };
        let mut options = ClientOptions::new(endpoint, node);
        options.initial_backoff = Duration::from_millis(20);
        options.max_backoff = Duration::from_millis(50);
        let (client, updates) = AdsClient::spawn(options);
        client.subscribe_all(type_url::CLUSTER);
        Self {
            task,
            stop,
            updates,
            _client: client,
            clusters: BTreeMap::new(),
        }
    }

    /// The clusters by name and version, when they are as wanted.
    async fn until(&mut self, wanted: impl Fn(&BTreeMap<String, String>) -> bool) {
        while self.clusters.is_empty() || !wanted(&self.clusters) {
            let update = tokio::time::timeout(LIMIT, self.updates.recv());
            let update = update.await.expect("the change did not come").unwrap();
            for name in &update.removed {
                self.clusters.remove(name);
            }
            for resource in &update.added {
                self.clusters
                    .insert(resource.name.to_string(), resource.version.to_string());
            }
            update.answer.ack();
        }
    }

    async fn stop(self) -> BTreeMap<String, String> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.clusters
    }

    /// As a kill does: nothing of it runs on.
    async fn kill(self) -> BTreeMap<String, String> {
        self.task.abort();
        let _ = self.task.await;
        self.clusters
    }
}

fn has(port: u16) -> impl Fn(&BTreeMap<String, String>) -> bool {
    let name = format!("outbound|{port}||web.default.svc.cluster.local");
    move |clusters| clusters.contains_key(&name)
}

#[tokio::test]
async fn a_restart_serves_the_same_bytes() {
    let (config, state) = (TempDir::new().unwrap(), private());
    fs::write(config.path().join("web.yaml"), service("web", &http(80))).unwrap();
    let mut plane = Plane::start(config.path(), state.path()).await;
    plane.until(has(80)).await;
    let before = plane.stop().await;
    let state = left_behind(&state);
    let mut plane = Plane::start(config.path(), state.path()).await;
    plane.until(has(80)).await;
    assert_eq!(plane.kill().await, before);
    let state = left_behind(&state);
    // Killed, robbed of its notes, its files of tomorrow: still the same.
    let tomorrow = SystemTime::now() + Duration::from_secs(24 * 3600);
    let file = fs::File::options()
        .write(true)
        .open(config.path().join("web.yaml"))
        .unwrap();
    file.set_modified(tomorrow).unwrap();
    fs::write(state.path().join("last-good.jsonl"), b"\xff{\nnonsense").unwrap();
    let mut plane = Plane::start(config.path(), state.path()).await;
    plane.until(has(80)).await;
    assert_eq!(plane.stop().await, before);
}

#[tokio::test]
async fn what_is_broken_meanwhile_stays_as_it_was() {
    let (config, state) = (TempDir::new().unwrap(), private());
    let path = config.path().join("web.yaml");
    fs::write(&path, service("web", &http(80))).unwrap();
    let mut plane = Plane::start(config.path(), state.path()).await;
    plane.until(has(80)).await;
    let before = plane.kill().await;
    let state = left_behind(&state);
    // Cut off in the middle: no longer the object it was.
    let text = service("web", &format!("{}, {}", http(80), http(81)));
    fs::write(&path, &text[..text.len() - 10]).unwrap();
    let mut plane = Plane::start(config.path(), state.path()).await;
    plane.until(has(80)).await;
    assert_eq!(plane.clusters, before);
    fs::write(&path, text).unwrap();
    plane.until(has(81)).await;
    plane.stop().await;
}

/// The directory of the notes cannot be written: the mesh is served all the same.
#[tokio::test]
async fn notes_that_cannot_be_written_hold_nothing_up() {
    let (config, state) = (TempDir::new().unwrap(), private());
    // Something that cannot be replaced by a file, as a full disk cannot be written.
    fs::create_dir_all(state.path().join("last-good.jsonl").join("in-the-way")).unwrap();
    let path = config.path().join("web.yaml");
    fs::write(&path, service("web", &http(80))).unwrap();
    let mut plane = Plane::start(config.path(), state.path()).await;
    plane.until(has(80)).await;
    fs::write(&path, service("web", &http(81))).unwrap();
    plane.until(has(81)).await;
    plane.stop().await;
}

/// What the control plane wrote of an object, once that is as wanted.
async fn standing(state: &Path, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let text = fs::read_to_string(state.join("status.json")).unwrap_or_default();
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        let objects = status["objects"].as_array().cloned().unwrap_or_default();
        let found = objects.into_iter().find(|object| object["name"] == name);
        if let Some(found) = found.filter(&wanted) {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn where_objects_stand_is_written_beside_the_state() {
    let (config, state) = (TempDir::new().unwrap(), private());
    let routes = |timeout: &str| {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: web}}\nspec:\n  hosts: [web]\n  http:\n  - timeout: {timeout}\n    route: [{{destination: {{host: nowhere}}}}]\n"
        );
        fs::write(config.path().join("routes.yaml"), text).unwrap();
    };
    fs::write(config.path().join("web.yaml"), service("web", &http(80))).unwrap();
    routes("1s");
    let mut plane = Plane::start(config.path(), state.path()).await;
    plane.until(|_| true).await;
    let found = standing(state.path(), "web", |found| found["reconciled"] == 1).await;
    assert_eq!(
        (&found["accepted"], &found["proxies"]),
        (&true.into(), &1.into())
    );
    assert!(found["file"].as_str().unwrap().ends_with("routes.yaml"));
    let issue = found["issues"][0].as_str().unwrap();
    assert!(issue.contains("no service \"nowhere"), "{issue}");
    routes("soon");
    let found = standing(state.path(), "web", |found| found["accepted"] == false).await;
    assert_eq!(found["reconciled"], 1, "the last good version");
    plane.stop().await;
    let text = fs::read_to_string(state.path().join("status.json")).unwrap();
    let status: Value = serde_json::from_str(&text).unwrap();
    let error = status["errors"][0].as_str().unwrap();
    assert!(error.contains("spec.http[0].timeout"), "{error}");
}
