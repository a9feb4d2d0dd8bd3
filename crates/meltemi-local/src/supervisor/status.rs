//! A pod's state, and the Pod object that tells it to the control plane.

use crate::paths::write_atomically;
use crate::plan::{OwnerKind, PodPlan};
use crate::sandbox::Ended;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, watch};

/// Why a pod is not ready whose containers run: Kubernetes' reason.
pub(crate) const UNREADY: &str = "ContainersNotReady";

/// What a container does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Activity {
    Waiting {
        reason: &'static str,
        message: String,
    },
    Running {
        since: Timestamp,
    },
    Terminated {
        ended: Ended,
        at: Timestamp,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ContainerState {
    pub activity: Activity,
    pub ready: bool,
    /// Why its readiness probe fails, while it runs and is not ready.
    pub unready: Option<String>,
    pub started: bool,
    pub restarts: u32,
    pub last: Option<Ended>,
}

impl ContainerState {
    fn new() -> Self {
        let activity = Activity::Waiting {
            reason: "PodInitializing",
            message: String::new(),
        };
        Self {
            activity,
            ready: false,
            unready: None,
            started: false,
            restarts: 0,
            last: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PodState {
    pub address: Option<Ipv4Addr>,
    /// Containers, the proxy as `istio-proxy` among them.
    pub containers: BTreeMap<String, ContainerState>,
    /// Why nothing runs: reason and message.
    pub problem: Option<(&'static str, String)>,
    /// The problem lasts until the configuration changes.
    pub blocked: bool,
    /// All containers have ended and none is started again; whether all succeeded.
    pub finished: Option<bool>,
    pub deleting: Option<Timestamp>,
}

impl PodState {
    pub(crate) fn phase(&self) -> &'static str {
        match self.finished {
            Some(true) => "Succeeded",
            Some(false) => "Failed",
            None if self
                .containers
                .values()
                .any(|one| matches!(one.activity, Activity::Running { .. })) =>
            {
                "Running"
            }
            None => "Pending",
        }
    }

    /// Whether it takes traffic.
    pub(crate) fn ready(&self) -> bool {
        self.deleting.is_none()
            && self.problem.is_none()
            && !self.containers.is_empty()
            && self.containers.values().all(|container| container.ready)
    }

    /// The first thing that keeps it from being ready.
    pub(crate) fn trouble(&self) -> Option<(&'static str, String)> {
        self.problem.clone().or_else(|| {
            self.containers
                .iter()
                .find_map(|(name, container)| match &container.activity {
                    Activity::Waiting { reason, message } if !message.is_empty() => {
                        Some((*reason, format!("{name}: {message}")))
                    }
                    Activity::Running { .. } if !container.ready => container
                        .unready
                        .as_ref()
                        .map(|why| (UNREADY, format!("{name}: readiness probe: {why}"))),
                    _ => None,
                })
        })
    }
}

/// A pod's state with its file: every change is written before the next.
pub(crate) struct PodCell {
    plan: Arc<PodPlan>,
    file: PathBuf,
    created: Timestamp,
    writing: Mutex<()>,
    state: watch::Sender<PodState>,
    /// Told of every change.
    changed: Arc<Notify>,
}

impl PodCell {
    pub(crate) fn new(plan: Arc<PodPlan>, file: PathBuf, changed: Arc<Notify>) -> Self {
        let proxy = plan.has_proxy().then(|| "istio-proxy".to_owned());
        let names = plan
            .containers()
            .map(|container| container.name.clone())
            .chain(proxy);
        let state = PodState {
            address: None,
            containers: names.map(|name| (name, ContainerState::new())).collect(),
            problem: None,
            blocked: false,
            finished: None,
            deleting: None,
        };
        Self {
            plan,
            file,
            created: Timestamp::now(),
            writing: Mutex::new(()),
            state: watch::Sender::new(state),
            changed,
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<PodState> {
        self.state.subscribe()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut PodState)) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
        if changed {
            self.changed.notify_one();
            let object = self.object(&self.state.borrow());
            if let Err(error) = write_atomically(&self.file, object.to_string().as_bytes()) {
                tracing::error!(file = %self.file.display(), %error, "the control plane does not learn of a pod's state");
            }
        }
    }

    pub(crate) fn container(&self, name: &str, change: impl FnOnce(&mut ContainerState)) {
        self.update(|state| {
            change(
                state
                    .containers
                    .entry(name.to_owned())
                    .or_insert_with(ContainerState::new),
            )
        });
    }

    /// The pod is gone.
    pub(crate) fn remove(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = fs::remove_file(&self.file)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(file = %self.file.display(), %error, "a pod's status stays");
        }
    }

    fn object(&self, state: &PodState) -> Value {
        let plan = &self.plan;
        let mut metadata = json!({
            "name": plan.name,
            "namespace": plan.namespace,
            "uid": &plan.hash[..32],
            "labels": plan.labels,
            "annotations": plan.annotations,
            "creationTimestamp": time(self.created),
        });
        if let Some(owner) = owner_reference(plan) {
            metadata["ownerReferences"] = json!([owner]);
        }
        if let Some(at) = state.deleting {
            metadata["deletionTimestamp"] = json!(time(at));
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": plan.spec, "status": self.status(state)})
    }

    fn status(&self, state: &PodState) -> Value {
        let condition = |kind: &str, holds: bool| {
            let mut condition =
                json!({"type": kind, "status": if holds { "True" } else { "False" }});
            if let (false, Some((reason, message))) = (holds, state.trouble()) {
                condition["reason"] = json!(reason);
                condition["message"] = json!(message);
            }
            condition
        };
        let mut status = json!({
            "phase": state.phase(),
            "hostIP": "127.0.0.1",
            "startTime": time(self.created),
            "conditions": [
                condition("PodScheduled", true),
                condition("ContainersReady", state.ready()),
                condition("Ready", state.ready()),
            ],
            "containerStatuses": state.containers.iter().map(|(name, container)| self.container_status(name, container)).collect::<Vec<_>>(),
        });
        if let Some(address) = state.address {
            status["podIP"] = json!(address);
            status["podIPs"] = json!([{"ip": address}]);
        }
        if let Some((reason, message)) = &state.problem {
            status["reason"] = json!(reason);
            status["message"] = json!(message);
        }
        status
    }

    fn container_status(&self, name: &str, container: &ContainerState) -> Value {
        let spec = self
            .plan
            .spec
            .containers
            .iter()
            .find(|one| one.name == name);
        let activity = match &container.activity {
            Activity::Waiting { reason, message } => {
                json!({"waiting": {"reason": reason, "message": message}})
            }
            Activity::Running { since } => json!({"running": {"startedAt": time(*since)}}),
            Activity::Terminated { ended, at } => {
                json!({"terminated": terminated(*ended, Some(*at))})
            }
        };
        let last = container.last.map_or(
            json!({}),
            |ended| json!({"terminated": terminated(ended, None)}),
        );
        json!({
            "name": name,
            "image": spec.and_then(|spec| spec.image.clone()).unwrap_or_default(),
            "imageID": "",
            "ready": container.ready,
            "started": container.started,
            "restartCount": container.restarts,
            "state": activity,
            "lastState": last,
        })
    }
}

fn terminated(ended: Ended, at: Option<Timestamp>) -> Value {
    let mut value = json!({
        "exitCode": ended.shell_code(),
        "reason": if ended.success() { "Completed" } else { "Error" },
    });
    if let Ended::Signal(signal) = ended {
        value["signal"] = json!(signal);
    }
    if let Some(at) = at {
        value["finishedAt"] = json!(time(at));
    }
    value
}

/// Kubernetes' times have whole seconds.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn owner_reference(plan: &PodPlan) -> Option<Value> {
    let (version, kind, name) = match plan.owner.kind {
        OwnerKind::Deployment => {
            let hash = plan.labels.get("pod-template-hash")?;
            (
                "apps/v1",
                "ReplicaSet",
                format!("{}-{hash}", plan.owner.name),
            )
        }
        OwnerKind::StatefulSet { .. } => ("apps/v1", "StatefulSet", plan.owner.name.clone()),
        OwnerKind::Pod | OwnerKind::Run => return None,
    };
    Some(
        json!({"apiVersion": version, "kind": kind, "name": name, "uid": &plan.hash[..32], "controller": true}),
    )
}
