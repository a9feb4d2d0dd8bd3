//! What a supervisor tells while it works; the command line prints it.

use serde::Serialize;
use std::net::Ipv4Addr;

/// A step or a state worth a line to the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "event"
)]
pub enum Event {
    /// The sandbox stands.
    Sandbox {
        /// A user namespace was made; the supervisor is no root.
        rootless: bool,
    },
    /// The mesh runs without namespaces: no interception, explicit loopback addresses.
    Loopback {
        /// Why, with the remedy, where that was not asked for.
        why: Option<String>,
    },
    /// The control plane answers.
    ControlPlane {
        /// How often it was started before in this run.
        restarts: u32,
    },
    /// A process of the mesh itself ended and is started again.
    Restarting {
        /// `control-plane`, or the pod whose sidecar it was.
        what: String,
        /// How it ended.
        why: String,
    },
    /// A pod is being started.
    PodStarting {
        /// `namespace/name`.
        pod: String,
        /// Its address.
        address: Ipv4Addr,
    },
    /// A pod is ready for traffic.
    PodReady {
        /// `namespace/name`.
        pod: String,
    },
    /// A pod is not ready, and why.
    PodProblem {
        /// `namespace/name`.
        pod: String,
        /// Kubernetes' reason, e.g. CrashLoopBackOff.
        reason: String,
        /// In words, with the remedy where there is one.
        message: String,
    },
    /// A pod has ended.
    PodStopped {
        /// `namespace/name`.
        pod: String,
    },
    /// A gateway's port on the host.
    Published {
        /// The gateway's pod.
        pod: String,
        /// Port inside the mesh.
        port: u16,
        /// `ADDRESS:PORT` on the host.
        at: String,
        /// The wanted port was in use.
        moved: bool,
    },
    /// Something of the configuration is not honoured here; what and what to do.
    Notice {
        /// Which object.
        what: String,
        /// The text.
        message: String,
    },
    /// An error of the configuration: its last good version stays in force.
    Configuration {
        /// File, line, field and remedy.
        message: String,
    },
    /// Every pod that can run is ready. Sent once.
    Ready {
        /// Where the ingress gateway is reached.
        url: Option<String>,
        /// Pods that are ready.
        ready: usize,
        /// Pods that cannot run (see their problems).
        blocked: Vec<String>,
    },
    /// The mesh is being stopped.
    Stopping,
    /// Everything has ended.
    Stopped,
}

/// Where events go. Cheap to clone; a receiver that is gone is no error.
#[derive(Debug, Clone)]
pub struct Events(tokio::sync::mpsc::UnboundedSender<Event>);

impl Events {
    /// A channel for events.
    pub fn channel() -> (Self, tokio::sync::mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    pub(crate) fn send(&self, event: Event) {
        // Nobody listens any more: the command line may have been detached.
        let _ = self.0.send(event);
    }
}
