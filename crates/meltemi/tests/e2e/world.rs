//! The environment of a role's tests: bookinfo as Istio publishes it, a client inside the
//! mesh, one outside of it, and second versions of two services.

use crate::common::http::Response;
use crate::common::mesh::{Mesh, brief, workloads};
use crate::common::runner::Report;
use crate::stage::{ENVOY, MIXED, Stage};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For a change to show in traffic; it is to take a second, on an idle machine.
pub const EFFECT: Duration = Duration::from_secs(10);

pub struct World {
    pub mesh: Mesh,
    pub stage: PathBuf,
    /// The files that the configuration begins with.
    base: Vec<(String, String)>,
}

impl World {
    pub fn up(stage: &Stage, role: &str) -> Result<Self, String> {
        let home = stage.dir.join(role).join("main");
        let dir = home.join("shop");
        let base = with_envoy(role, &stage.dir, base_files(&stage.dir));
        write_all(&dir, &base);
        let mesh = Mesh::up(&stage.meltemi(), &home, &dir, &[])?;
        Ok(Self {
            mesh,
            stage: stage.dir.clone(),
            base,
        })
    }

    /// Another mesh beside, of the same files.
    pub fn second(&self, name: &str, flags: &[&str]) -> Mesh {
        let home = self.mesh.home.parent().unwrap().join(name);
        let dir = home.join("shop");
        write_all(&dir, &self.base);
        let mesh = Mesh::up(&self.stage.join("bin/meltemi"), &home, &dir, flags);
        mesh.unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Puts the configuration back to what it was at the beginning.
    pub fn reset(&self) {
        if current(&self.mesh.dir) == sorted(&self.base) {
            return;
        }
        let before = self.mesh.config_version();
        for (path, _) in current(&self.mesh.dir) {
            if !self.base.iter().any(|(known, _)| *known == path) {
                std::fs::remove_file(self.mesh.dir.join(path)).unwrap();
            }
        }
        write_all(&self.mesh.dir, &self.base);
        self.changed_since(&before);
    }

    /// Waits until a change of files is in force everywhere.
    pub fn changed_since(&self, version: &str) {
        crate::common::wait::until_true("a new configuration", EFFECT, || {
            self.mesh.config_version() != version
        });
        self.mesh.settled();
    }

    /// A file of bookinfo's `networking` folder.
    pub fn networking(&self, name: &str) -> PathBuf {
        self.stage.join("istio/networking").join(name)
    }

    /// Applies files of the `networking` folder, as Istio's tasks do with kubectl.
    pub fn apply_networking(&self, names: &[&str]) {
        for name in names {
            self.mesh.apply(&self.networking(name));
        }
    }

    /// Runs one of the suite's tools inside a workload.
    pub fn tool(&self, workload: &str, arguments: &[&str]) -> crate::common::output::Output {
        self.tool_in(&self.mesh, workload, arguments)
    }

    /// The same inside a workload of another mesh.
    pub fn tool_in(
        &self,
        mesh: &Mesh,
        workload: &str,
        arguments: &[&str],
    ) -> crate::common::output::Output {
        let tool = self.stage.join("bin/e2e");
        let command: Vec<&str> = [tool.to_str().unwrap(), "tool"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        mesh.exec(workload, &command)
    }

    /// After a failure: what the mesh says of itself.
    pub fn explain(&self) {
        let told = catch_unwind(AssertUnwindSafe(|| {
            let status = self.mesh.status();
            println!("--- control plane\n{:#}", status["control_plane"]);
            workloads(&status).for_each(|workload| println!("{}", brief(workload)));
        }));
        if told.is_err() {
            println!("there is no status");
        }
        println!("{}", self.mesh.story());
    }

    /// Stops the mesh; that nothing is left of it is a test of its own.
    pub fn end(&mut self, report: &mut Report) {
        let begun = std::time::Instant::now();
        match catch_unwind(AssertUnwindSafe(|| self.mesh.down())) {
            Ok(()) => report.pass("down leaves nothing", begun),
            Err(_) => {
                report.fail("down leaves nothing");
                println!("{}", self.mesh.story());
            }
        }
    }
}

/// `reviews-v2` of an answer's `x-served-by: productpage-v1-0, reviews-v2-0, ratings-v1-0`.
pub fn served_by(response: &Response, service: &str) -> String {
    let mut pods = response.header("x-served-by").split(", ");
    let pod = pods
        .find(|pod| pod.starts_with(service))
        .unwrap_or_default();
    let parts: Vec<&str> = pod.split('-').take(2).collect();
    parts.join("-")
}

fn base_files(stage: &Path) -> Vec<(String, String)> {
    let read = |path: &str| std::fs::read_to_string(stage.join(path)).unwrap();
    let mut files = vec![
        (
            "meltemi.yaml".to_owned(),
            read("samples/bookinfo/meltemi.yaml"),
        ),
        ("extras.yaml".to_owned(), EXTRAS.to_owned()),
    ];
    if stage.join("istio").is_dir() {
        files.push((
            "bookinfo.yaml".into(),
            read("istio/platform/kube/bookinfo.yaml"),
        ));
        files.push((
            "gateway.yaml".into(),
            read("istio/networking/bookinfo-gateway.yaml"),
        ));
    } else {
        files.push((
            "bookinfo.yaml".into(),
            read("samples/bookinfo/bookinfo.yaml"),
        ));
        files.push(("gateway.yaml".into(), read("samples/bookinfo/gateway.yaml")));
    }
    files
}

/// The files of a mesh in which all proxies are Envoy, or those of some workloads.
fn with_envoy(role: &str, stage: &Path, files: Vec<(String, String)>) -> Vec<(String, String)> {
    let change = |name: &str, text: String| match (role, name) {
        (ENVOY, "meltemi.yaml") => format!("proxyImage: envoy\n{}", maps_envoy(&text, stage)),
        (MIXED, "meltemi.yaml") => maps_envoy(&text, stage),
        (MIXED, "bookinfo.yaml") => {
            let labels = "    metadata:\n      labels:\n        app: ";
            let annotated = "    metadata:\n      annotations: { sidecar.istio.io/proxyImage: envoy }\n      labels:\n        app: ";
            let changed = text
                .replace(&format!("{labels}reviews"), &format!("{annotated}reviews"))
                .replace(&format!("{labels}details"), &format!("{annotated}details"));
            assert_ne!(changed, text, "no workload has Envoy");
            changed
        }
        _ => text,
    };
    let files = files.into_iter();
    files
        .map(|(name, text)| (name.clone(), change(&name, text)))
        .collect()
}

fn maps_envoy(settings: &str, stage: &Path) -> String {
    let binary = stage.join("bin/envoy");
    let entry = format!(
        "images:\n- image: envoy\n  command: [{}]\n",
        binary.display()
    );
    settings.replacen("images:\n", &entry, 1)
}

fn write_all(dir: &Path, files: &[(String, String)]) {
    std::fs::create_dir_all(dir).unwrap();
    for (name, text) in files {
        if std::fs::read_to_string(dir.join(name)).ok().as_ref() != Some(text) {
            replace(&dir.join(name), text);
        }
    }
}

/// Writes a file so that a watcher sees the old one or the new one.
pub fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

/// The configuration's files, by their path in the directory.
fn current(dir: &Path) -> Vec<(String, String)> {
    fn walk(root: &Path, dir: &Path, out: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            if path.is_dir() {
                walk(root, &path, out);
            } else {
                let relative = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                out.push((relative, std::fs::read_to_string(&path).unwrap_or_default()));
            }
        }
    }
    let mut out = Vec::new();
    walk(dir, dir, &mut out);
    sorted(&out)
}

fn sorted(files: &[(String, String)]) -> Vec<(String, String)> {
    let mut files = files.to_vec();
    files.sort();
    files
}

const EXTRAS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: client }
spec:
  selector: { matchLabels: { app: client } }
  template:
    metadata: { labels: { app: client, version: v1 } }
    spec:
      containers: [{ name: client, image: curlimages/curl }]
---
# A client without a sidecar.
apiVersion: apps/v1
kind: Deployment
metadata: { name: outsider }
spec:
  selector: { matchLabels: { app: outsider } }
  template:
    metadata: { labels: { app: outsider, sidecar.istio.io/inject: "false" } }
    spec:
      containers: [{ name: client, image: curlimages/curl }]
---
apiVersion: v1
kind: Service
metadata: { name: httpbin }
spec:
  ports: [{ name: http, port: 8000, targetPort: 8080 }]
  selector: { app: httpbin }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: httpbin }
spec:
  selector: { matchLabels: { app: httpbin } }
  template:
    metadata: { labels: { app: httpbin, version: v1 } }
    spec:
      containers: [{ name: httpbin, image: docker.io/mccutchen/go-httpbin:v2.15.0, ports: [{ containerPort: 8080 }] }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: details-v2 }
spec:
  selector: { matchLabels: { app: details, version: v2 } }
  template:
    metadata: { labels: { app: details, version: v2 } }
    spec:
      containers: [{ name: details, image: "registry.istio.io/release/examples-bookinfo-details-v2:1.20.3", ports: [{ containerPort: 9080 }] }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ratings-v2 }
spec:
  selector: { matchLabels: { app: ratings, version: v2 } }
  template:
    metadata: { labels: { app: ratings, version: v2 } }
    spec:
      containers: [{ name: ratings, image: "registry.istio.io/release/examples-bookinfo-ratings-v2:1.20.3", ports: [{ containerPort: 9080 }] }]
"#;
