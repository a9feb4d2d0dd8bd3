//! A pod among those that the controller looks after, and how its API shows it.

use super::pod::Pod;
use super::rollout::Running;
use super::status::PodState;
use crate::plan::OwnerKind;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A pod as the supervisor's API shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRow {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it belongs to, a Deployment's name for example.
    pub workload: String,
    /// Its address, once it has its namespace.
    pub address: Option<Ipv4Addr>,
    /// Kubernetes' phase.
    pub phase: String,
    /// Whether it takes traffic.
    pub ready: bool,
    /// Restarts of all its containers.
    pub restarts: u32,
    /// Its containers' names, the proxy's among them.
    pub containers: Vec<String>,
    /// Why it is not ready: reason and message.
    pub problem: Option<String>,
}

/// A pod that the controller looks after.
pub(super) struct Member {
    pub pod: Arc<Pod>,
    pub state: watch::Receiver<PodState>,
    pub task: JoinHandle<()>,
    /// What was last told of it.
    pub told_ready: bool,
    pub was_ready: bool,
    pub told_trouble: Option<String>,
}

impl Member {
    pub(super) fn running(&self) -> Running {
        let state = self.state.borrow();
        Running {
            plan: self.pod.plan.clone(),
            ready: state.ready(),
            settled: state.blocked || state.finished.is_some(),
            leaving: self.pod.stop.is_cancelled(),
        }
    }

    pub(super) fn row(&self) -> PodRow {
        let (state, plan) = (self.state.borrow(), &self.pod.plan);
        PodRow {
            namespace: plan.namespace.clone(),
            name: plan.name.clone(),
            workload: if plan.owner.kind == OwnerKind::Pod {
                plan.name.clone()
            } else {
                plan.owner.name.clone()
            },
            address: state.address,
            phase: state.phase().to_owned(),
            ready: state.ready(),
            restarts: state
                .containers
                .values()
                .map(|container| container.restarts)
                .sum(),
            containers: state.containers.keys().cloned().collect(),
            problem: if state.ready() {
                None
            } else {
                state
                    .trouble()
                    .map(|(reason, message)| format!("{reason}: {message}"))
            },
        }
    }
}
