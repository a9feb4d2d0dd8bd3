//! What becomes of updates, counted under Envoy's names.

use super::record::Kind;
use super::state::State;
use crate::model::Discovery;
use crate::telemetry::stats::Counter;
use meltemi_xds::client::Status;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// The updates of one subscription, or of one cluster's endpoints.
#[derive(Clone, Copy)]
pub struct Updates {
    attempt: Counter,
    success: Counter,
    failure: Counter,
    rejected: Counter,
}

impl Updates {
    fn new(counter: impl Fn(&str) -> Counter) -> Self {
        Self {
            attempt: counter("update_attempt"),
            success: counter("update_success"),
            failure: counter("update_failure"),
            rejected: counter("update_rejected"),
        }
    }

    /// `cluster.NAME.update_*`.
    pub fn of_cluster(stat_name: &str) -> Self {
        Self::new(|rest| Counter::scoped("cluster", stat_name, rest))
    }

    pub fn taken(self) {
        self.attempt.inc();
        self.success.inc();
    }

    /// There was nothing to take: no server, no answer.
    pub fn failed(self) {
        self.attempt.inc();
        self.failure.inc();
    }

    fn refused(self) {
        self.attempt.inc();
        self.rejected.inc();
    }

    fn answered(self, good: bool) {
        if good { self.taken() } else { self.refused() }
    }
}

/// What was done with the resources of one kind.
#[derive(Clone, Copy)]
pub struct Changes {
    pub added: Counter,
    pub modified: Counter,
    pub removed: Counter,
}

impl Changes {
    fn new(prefix: &str) -> Self {
        let counter = |rest: &str| Counter::new(&format!("{prefix}_{rest}"));
        Self {
            added: counter("added"),
            modified: counter("modified"),
            removed: counter("removed"),
        }
    }

    pub fn taken(self, is_new: bool) {
        if is_new {
            self.added.inc()
        } else {
            self.modified.inc()
        }
    }
}

#[derive(Clone, Copy)]
pub struct Counters {
    cds: Updates,
    lds: Updates,
    pub clusters: Changes,
    pub listeners: Changes,
    /// Listeners that came into force, and those whose address could not be bound.
    pub listener_create_success: Counter,
    pub listener_create_failure: Counter,
}

impl Counters {
    pub fn new() -> Self {
        let updates = |prefix: &str| Updates::new(|rest| Counter::new(&format!("{prefix}.{rest}")));
        Self {
            cds: updates("cluster_manager.cds"),
            lds: updates("listener_manager.lds"),
            clusters: Changes::new("cluster_manager.cluster"),
            listeners: Changes::new("listener_manager.listener"),
            listener_create_success: Counter::new("listener_manager.listener_create_success"),
            listener_create_failure: Counter::new("listener_manager.listener_create_failure"),
        }
    }

    /// Counts attempts to reach the control plane that failed. The task ends with the client.
    pub fn follow(self, mut status: watch::Receiver<Status>) {
        tokio::spawn(async move {
            while status.changed().await.is_ok() {
                let failed = matches!(
                    &*status.borrow_and_update(),
                    Status::Disconnected {
                        last_error: Some(_),
                        ..
                    }
                );
                if failed {
                    self.cds.failed();
                    self.lds.failed();
                }
            }
        });
    }
}

impl State {
    /// An update was answered; `refused` and `taken` name the endpoints in it.
    pub fn count_update(
        &self,
        kind: Kind,
        good: bool,
        taken: &BTreeSet<Arc<str>>,
        refused: &BTreeSet<&str>,
    ) {
        match kind {
            Kind::Cluster => self.counters.cds.answered(good),
            Kind::Listener => self.counters.lds.answered(good),
            Kind::Endpoints => {
                for config in self.clusters.values().filter_map(|entry| entry.config()) {
                    let Discovery::Eds(service) = &config.discovery else {
                        continue;
                    };
                    let updates = || Updates::of_cluster(config.stat_name());
                    if taken.contains(&**service) {
                        updates().taken();
                    } else if refused.contains(&**service) {
                        updates().refused();
                    }
                }
            }
            Kind::Route | Kind::VirtualHost | Kind::Secret => {}
        }
    }
}
