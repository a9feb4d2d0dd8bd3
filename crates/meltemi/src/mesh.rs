//! Finding a running mesh and the workloads in it.

use crate::client::Client;
use crate::commands::Usage;
use anyhow::{Context, bail};
use meltemi_local::paths::{MeshPaths, runtime_root};
use meltemi_local::running::MeshInfo;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// `--mesh` of the commands that work on a running mesh.
#[derive(clap::Args)]
pub struct MeshArgs {
    /// Running mesh: its name or its directory (default: the only one that runs)
    #[arg(
        long,
        env = "MELTEMI_MESH",
        value_name = "NAME|DIR",
        display_order = 900
    )]
    pub mesh: Option<String>,
}

impl MeshArgs {
    /// The mesh that is meant.
    pub fn find(&self) -> anyhow::Result<Mesh> {
        Mesh::find(self.mesh.as_deref())
    }
}

/// The arguments of the commands that work on one workload of a running mesh.
#[derive(clap::Args)]
pub struct WorkloadArgs {
    #[command(flatten)]
    mesh: MeshArgs,
    /// Pod, workload or app name
    workload: String,
    /// Namespace of the workload
    #[arg(short, long)]
    namespace: Option<String>,
}

impl WorkloadArgs {
    /// The mesh and a pod of the workload.
    pub fn find(&self) -> anyhow::Result<(Mesh, Pod)> {
        let mesh = self.mesh.find()?;
        let pod = mesh.pod(&self.workload, self.namespace.as_deref())?;
        Ok((mesh, pod))
    }
}

/// `--mesh` of the commands that need its control plane only.
#[derive(clap::Args)]
pub struct ApiArgs {
    /// Running mesh: its name, its directory, or the API socket of a control plane (default:
    /// the only mesh that runs)
    #[arg(
        long,
        env = "MELTEMI_MESH",
        value_name = "NAME|DIR|SOCKET",
        display_order = 900
    )]
    mesh: Option<String>,
}

impl ApiArgs {
    /// The control plane's API.
    pub fn find(&self) -> anyhow::Result<Client> {
        match self.mesh.as_deref() {
            Some(path) if is_socket(Path::new(path)) => Ok(Client::new(path)),
            wanted => Ok(Mesh::find(wanted)?.api()),
        }
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// A running mesh.
pub struct Mesh {
    pub info: MeshInfo,
    pub run: PathBuf,
    pub paths: MeshPaths,
}

impl Mesh {
    /// The mesh that `--mesh` names, or the only one that runs.
    pub fn find(wanted: Option<&str>) -> anyhow::Result<Self> {
        let root = runtime_root();
        let all = MeshInfo::all(&root)
            .with_context(|| format!("cannot look for running meshes in {}", root.display()))?;
        let info = match wanted {
            Some(wanted) => select(&all, wanted)?,
            None => match &all[..] {
                [] => bail!("no mesh is running; start one with `meltemi up`"),
                [one] => one,
                several => {
                    let names: Vec<_> = several.iter().map(|mesh| mesh.name.as_str()).collect();
                    bail!(Usage(format!(
                        "several meshes are running: {}; choose one with --mesh NAME",
                        names.join(", ")
                    )))
                }
            },
        };
        let paths = MeshPaths::of(&info.dir)
            .with_context(|| format!("mesh {}: {}", info.name, info.dir.display()))?;
        Ok(Self {
            run: root.join(&info.name),
            info: info.clone(),
            paths,
        })
    }

    /// The control plane's API.
    pub fn api(&self) -> Client {
        Client::new(self.run.join("api.sock"))
    }

    /// The supervisor's API.
    pub fn supervisor(&self) -> Client {
        Client::new(self.run.join("supervisor.sock"))
    }

    /// The admin API of a pod's proxy.
    pub fn admin(&self, pod: &Pod) -> Client {
        let file = format!("{}.{}.sock", pod.namespace, pod.name);
        Client::new(self.run.join("admin").join(file))
    }

    /// The pods as the supervisor last wrote them, by namespace and name.
    pub fn pods(&self) -> anyhow::Result<Vec<Pod>> {
        let dir = self.run.join("pods");
        let entries =
            std::fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
        let mut pods = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                // A pod may go while we read.
                if let Ok(text) = std::fs::read_to_string(&path) {
                    pods.push(Pod::parse(&text, &path)?);
                }
            }
        }
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Ok(pods)
    }

    /// One pod of the workload: by pod name, by the workload's name, or by `app` label.
    pub fn pod(&self, wanted: &str, namespace: Option<&str>) -> anyhow::Result<Pod> {
        let (namespace, wanted) = match wanted.split_once('/') {
            Some((namespace, name)) if !matches!(namespace, "deploy" | "deployment" | "pod") => {
                (Some(namespace), name)
            }
            Some((_, name)) => (namespace, name),
            None => (namespace, wanted),
        };
        let pods = self.pods()?;
        let mut candidates: Vec<&Pod> = pods
            .iter()
            .filter(|pod| namespace.is_none_or(|namespace| pod.namespace == namespace))
            .filter(|pod| pod.answers_to(wanted))
            .collect();
        // An exact pod name wins, then a ready one.
        candidates.sort_by_key(|pod| (pod.name != wanted, !pod.ready));
        match candidates.first() {
            Some(pod) => Ok((*pod).clone()),
            None => {
                let known: BTreeSet<String> = pods
                    .iter()
                    .map(|pod| format!("{}/{}", pod.namespace, pod.workload))
                    .collect();
                let place = namespace.map_or_else(String::new, |n| format!(" in namespace {n}"));
                bail!(
                    "no workload \"{wanted}\"{place}; mesh {} has {}",
                    self.info.name,
                    Vec::from_iter(known).join(", ")
                )
            }
        }
    }
}

fn select<'a>(all: &'a [MeshInfo], wanted: &str) -> anyhow::Result<&'a MeshInfo> {
    let directory = std::fs::canonicalize(wanted).ok();
    all.iter()
        .find(|mesh| mesh.name == wanted || directory.as_deref() == Some(mesh.dir.as_path()))
        .with_context(|| {
            if is_socket(Path::new(wanted)) {
                format!("{wanted} is a control plane's API; this command works on a whole mesh, which `meltemi up DIR` starts")
            } else {
                format!("no mesh \"{wanted}\" is running; `meltemi up DIR` starts one")
            }
        })
}

/// What commands need of a Pod object.
#[derive(Clone, Debug)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    /// Owning Deployment or StatefulSet, else the pod itself.
    pub workload: String,
    /// `-` until it has one.
    pub address: String,
    pub labels: BTreeMap<String, String>,
    pub containers: Vec<String>,
    pub ready: bool,
    /// What keeps it from being ready: reason and message.
    pub why: Option<String>,
}

impl Pod {
    fn parse(text: &str, path: &Path) -> anyhow::Result<Self> {
        let value: Value = serde_saphyr::from_str(text)
            .with_context(|| format!("{} is not a Pod", path.display()))?;
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or("");
        let list = |pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let name = text("/metadata/name").to_owned();
        let owner = match text("/metadata/ownerReferences/0/kind") {
            // Between a Deployment and its pods stands a ReplicaSet, `DEPLOYMENT-HASH`.
            "ReplicaSet" => {
                let replicas = text("/metadata/ownerReferences/0/name");
                replicas
                    .rsplit_once('-')
                    .map_or(replicas, |(deployment, _)| deployment)
            }
            _ => text("/metadata/ownerReferences/0/name"),
        };
        let conditions = list("/status/conditions");
        let ready = conditions
            .iter()
            .find(|condition| condition["type"] == "Ready");
        Ok(Self {
            namespace: text("/metadata/namespace").to_owned(),
            workload: if owner.is_empty() { &name } else { owner }.to_owned(),
            name,
            address: match text("/status/podIP") {
                "" => "-",
                address => address,
            }
            .to_owned(),
            labels: value
                .pointer("/metadata/labels")
                .and_then(|labels| serde_json::from_value(labels.clone()).ok())
                .unwrap_or_default(),
            containers: list("/spec/containers")
                .iter()
                .filter_map(|container| container["name"].as_str().map(str::to_owned))
                .collect(),
            ready: ready.is_some_and(|condition| condition["status"] == "True"),
            why: ready.and_then(|condition| {
                let text = |key: &str| condition[key].as_str();
                Some(format!("{}: {}", text("reason")?, text("message")?))
            }),
        })
    }

    fn answers_to(&self, wanted: &str) -> bool {
        let label = |key: &str| self.labels.get(key).is_some_and(|value| value == wanted);
        self.name == wanted || self.workload == wanted || label("app") || label("istio")
    }
}
