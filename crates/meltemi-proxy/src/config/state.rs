//! The manager's state and the publication of snapshots.

use super::clusters::ClusterEntry;
use super::counters::Counters;
use super::dns::Resolved;
use super::handle::{Readiness, Shared};
use super::listeners::ListenerEntry;
use super::record::{Failure, Kind, Record, State as RecordState};
use super::routes::RouteEntry;
use super::secrets::Secrets;
use super::unbound::Unbound;
use crate::compile::assignment::Assignment;
use crate::compile::{Error, Names, Notice};
use crate::dns::Resolver;
use crate::model::{ListenerTable, Snapshot};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Endpoints of one EDS service.
pub struct EdsEntry {
    pub hash: u64,
    pub assignment: Arc<Assignment>,
}

/// One resource as it came: from the bootstrap or by ADS.
#[derive(Clone)]
pub struct Incoming {
    pub name: Arc<str>,
    pub version: Arc<str>,
    pub fixed: bool,
    pub body: Bytes,
    pub hash: u64,
}

/// Which parts of the snapshot must be built anew.
#[derive(Default)]
pub struct Dirty {
    pub clusters: bool,
    pub routes: bool,
    pub listeners: bool,
}

/// Where start-up stands.
pub struct Progress {
    pub cds: Stage,
    pub lds: Stage,
}

/// Whether the first response of a type is still waited for.
#[derive(Clone, Copy)]
pub enum Stage {
    Waiting(Option<Instant>),
    Done,
}

impl Stage {
    /// `timeout` of `None`: the type does not come by ADS; 0: wait for ever.
    pub fn new(timeout: Option<Duration>) -> Self {
        match timeout {
            None => Stage::Done,
            Some(timeout) => Stage::Waiting(deadline(timeout)),
        }
    }

    pub fn expired(self, now: Instant) -> bool {
        match self {
            Stage::Waiting(Some(deadline)) => deadline <= now,
            Stage::Waiting(None) => false,
            Stage::Done => true,
        }
    }
}

/// When a wait of that length ends; 0 never ends.
pub fn deadline(timeout: Duration) -> Option<Instant> {
    (!timeout.is_zero()).then(|| Instant::now() + timeout)
}

pub struct State {
    pub shared: Arc<Shared>,
    pub snapshots: watch::Sender<Arc<Snapshot>>,
    pub names: Names,
    pub clusters: BTreeMap<Arc<str>, ClusterEntry>,
    pub endpoints: HashMap<Arc<str>, EdsEntry>,
    pub listeners: BTreeMap<Arc<str>, ListenerEntry>,
    pub unbound: Unbound,
    pub routes: HashMap<Arc<str>, RouteEntry>,
    pub secrets: Secrets,
    pub resolver: Arc<Resolver>,
    pub resolved: mpsc::Sender<Resolved>,
    pub dirty: Dirty,
    /// What resources refer to may have changed since subscriptions were made of it.
    pub references_changed: bool,
    pub progress: Progress,
    pub counters: Counters,
}

impl State {
    /// Remembers a resource that is accepted.
    pub fn accept(
        &self,
        kind: Kind,
        incoming: &Incoming,
        state: RecordState,
        notices: Vec<Notice>,
    ) {
        for notice in &notices {
            tracing::debug!(kind = kind.as_str(), name = %incoming.name, field = notice.field, reason = &*notice.reason, "accepted without");
        }
        self.shared.records().accept(
            kind,
            Record {
                name: incoming.name.clone(),
                version: incoming.version.clone(),
                fixed: incoming.fixed,
                state,
                updated: SystemTime::now(),
                body: if incoming.fixed {
                    incoming.body.clone()
                } else {
                    // What came is a slice of the whole response, which must not live on.
                    Bytes::copy_from_slice(&incoming.body)
                },
                notices,
                failure: None,
            },
        );
    }

    /// Remembers a refusal; the version in force stays.
    pub fn refuse(&self, kind: Kind, name: &Arc<str>, version: &Arc<str>, error: &Error) {
        tracing::warn!(kind = kind.as_str(), %name, %error, "refused, keeping what is in force");
        self.shared.records().refuse(
            kind,
            name,
            Failure {
                version: version.clone(),
                at: SystemTime::now(),
                details: error.to_string(),
            },
        );
    }

    /// Moves what is warm into force, and publishes if anything has changed.
    pub fn settle(&mut self) {
        self.settle_clusters();
        self.retry_unbound();
        self.settle_routes();
        self.settle_listeners();
        self.publish();
        self.settle_readiness();
    }

    fn publish(&mut self) {
        let Dirty {
            clusters,
            routes,
            listeners,
        } = std::mem::take(&mut self.dirty);
        if !(clusters || routes || listeners) {
            return;
        }
        let former = self.snapshots.borrow().clone();
        let mut snapshot = Snapshot {
            generation: former.generation + 1,
            ..(*former).clone()
        };
        // Names of clusters grow with listeners and routes, too.
        if clusters || snapshot.clusters.len() != self.names.cluster_count() {
            let mut slots = vec![None; self.names.cluster_count()];
            for entry in self.clusters.values() {
                if let Some(cluster) = entry.active() {
                    slots[cluster.id.0 as usize] = Some(cluster.clone());
                }
            }
            snapshot.clusters = slots.into();
        }
        if routes || snapshot.routes.len() != self.names.route_table_count() {
            let mut slots = vec![None; self.names.route_table_count()];
            for entry in self.routes.values() {
                slots[entry.id.0 as usize] = entry.table.clone();
            }
            snapshot.routes = slots.into();
        }
        if listeners {
            let mut table = ListenerTable::default();
            for entry in self.listeners.values() {
                if let Some(listener) = entry.active() {
                    for address in &listener.addresses {
                        table.by_address.insert(*address, listener.clone());
                    }
                    table.all.push(listener.clone());
                }
            }
            snapshot.listeners = Arc::new(table);
        }
        tracing::debug!(generation = snapshot.generation, "configuration published");
        self.snapshots.send_replace(Arc::new(snapshot));
    }

    fn settle_readiness(&mut self) {
        if *self.shared.readiness.borrow() == Readiness::Live {
            return;
        }
        let readiness = self.current_readiness();
        self.shared.readiness.send_if_modified(|known| {
            let changed = *known != readiness;
            *known = readiness;
            changed
        });
    }

    fn current_readiness(&self) -> Readiness {
        let now = Instant::now();
        if !self.progress.cds.expired(now) {
            return Readiness::PreInitializing("no clusters from the control plane yet".into());
        }
        let cold = |names: Vec<&Arc<str>>| {
            let names: Vec<&str> = names.iter().take(5).map(|name| &***name).collect();
            names.join(", ")
        };
        let warming: Vec<_> = self
            .clusters
            .iter()
            .filter(|(_, entry)| entry.is_warming())
            .map(|(name, _)| name)
            .collect();
        if !warming.is_empty() {
            return Readiness::PreInitializing(format!("clusters are warming: {}", cold(warming)));
        }
        if !self.progress.lds.expired(now) {
            return Readiness::Initializing("no listeners from the control plane yet".into());
        }
        let warming: Vec<_> = self
            .listeners
            .iter()
            .filter(|(_, entry)| entry.is_warming())
            .map(|(name, _)| name)
            .collect();
        if !warming.is_empty() {
            return Readiness::Initializing(format!("listeners are warming: {}", cold(warming)));
        }
        Readiness::Live
    }

    /// When something that is waited for is given up next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let stage = |stage: Stage| match stage {
            Stage::Waiting(deadline) => deadline,
            Stage::Done => None,
        };
        let now = Instant::now();
        let live = *self.shared.readiness.borrow() == Readiness::Live;
        let stages = [stage(self.progress.cds), stage(self.progress.lds)];
        self.clusters
            .values()
            .filter_map(ClusterEntry::deadline)
            .chain(self.listeners.values().filter_map(ListenerEntry::deadline))
            .chain(self.unbound.deadline())
            .chain(self.routes.values().filter_map(RouteEntry::deadline))
            .chain(stages.into_iter().flatten().filter(|at| !live && *at > now))
            .min()
    }
}
