//! What the rest of the process sees of the configuration manager.

use super::record::{Kind, Record, Records, State};
use super::{Query, Snapshot, dump, status};
use crate::bootstrap::Bootstrap;
use crate::telemetry::{ServerState, ServerStatus};
use meltemi_xds::nds::NameTable;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

/// A cheap handle on the running manager; the manager ends with the last one.
#[derive(Clone)]
pub struct Handle {
    /// The configuration in force. The first value is empty (generation 0) only until
    /// [`super::Manager::start`] returns: static resources are in it from then on.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Istio's DNS name table (NDS); empty until it arrives.
    pub name_table: watch::Receiver<Arc<NameTable>>,
    /// The server of the ADS stream; `None` without ADS in the bootstrap.
    pub ads_server: Option<meltemi_xds::client::Endpoint>,
    pub(super) shared: Arc<Shared>,
    pub(super) _stop: Arc<DropGuard>,
}

/// State that the manager writes and the admin API reads.
pub(super) struct Shared {
    pub bootstrap: Bootstrap,
    pub records: Mutex<Records>,
    /// Secrets in force by name, for `/certs`.
    pub secrets: Mutex<HashMap<Arc<str>, Arc<crate::tls::Secret>>>,
    pub readiness: watch::Sender<Readiness>,
    pub control_plane: Mutex<Option<watch::Receiver<meltemi_xds::client::Status>>>,
}

/// Envoy's server states, as `/ready` and `/server_info` tell them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Static clusters are not warm, or the first clusters have not arrived (the text says
    /// what is missing).
    PreInitializing(String),
    /// The first listeners have not arrived or are not warm.
    Initializing(String),
    Live,
}

impl Readiness {
    pub fn as_str(&self) -> &'static str {
        match self {
            Readiness::PreInitializing(_) => "PRE_INITIALIZING",
            Readiness::Initializing(_) => "INITIALIZING",
            Readiness::Live => "LIVE",
        }
    }
}

impl Shared {
    pub fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// The bootstrap the process was started with.
    pub fn bootstrap(&self) -> &Bootstrap {
        &self.shared.bootstrap
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// Follows the readiness: `Live` once, and from then on.
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.shared.readiness.subscribe()
    }

    /// The connection to the control plane; `None` without ADS in the bootstrap.
    pub fn control_plane(&self) -> Option<meltemi_xds::client::Status> {
        let status = self
            .shared
            .control_plane
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        status.as_ref().map(|status| status.borrow().clone())
    }

    /// Tells the statistics how far the configuration has come. Holds no handle: the manager
    /// may end meanwhile.
    pub fn server_status(&self) -> impl Fn() -> ServerStatus + Send + 'static {
        let shared = self.shared.clone();
        move || {
            let control_plane = shared
                .control_plane
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let connected = control_plane.as_ref().map(|status| {
                matches!(
                    &*status.borrow(),
                    meltemi_xds::client::Status::Connected { .. }
                )
            });
            let records = shared.records();
            let warming = |kind| {
                let records = records.of(kind);
                records.filter(|r| r.state == State::Warming).count() as u64
            };
            let secrets = shared
                .secrets
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let ends = status::first_ends(&secrets);
            ServerStatus {
                state: match *shared.readiness.borrow() {
                    Readiness::Live => ServerState::Live,
                    Readiness::PreInitializing(_) => ServerState::PreInitializing,
                    Readiness::Initializing(_) => ServerState::Initializing,
                },
                connected,
                warming_clusters: warming(Kind::Cluster),
                warming_listeners: warming(Kind::Listener),
                first_certificate_end: ends.certificate,
                first_staple_end: ends.staple,
            }
        }
    }

    /// What is known of every resource of a kind, in the order of names.
    pub fn records(&self, kind: Kind) -> Vec<Record> {
        self.shared.records().of(kind).cloned().collect()
    }

    /// Resources whose last update was refused, or that wait for something.
    pub fn problems(&self) -> Vec<(Kind, Record)> {
        let records = self.shared.records();
        Kind::ALL
            .into_iter()
            .flat_map(|kind| records.of(kind).map(move |record| (kind, record.clone())))
            .filter(|(_, record)| record.failure.is_some() || record.state != State::Active)
            .collect()
    }

    /// `/config_dump` as JSON. `eds` adds the endpoints (`?include_eds`); `mask` keeps only
    /// resources whose kind's dump type or name matches (`?resource=`, `?name_regex=`).
    ///
    /// # Errors
    /// When the descriptors cannot be read or a name pattern is no regular expression.
    pub fn config_dump(&self, query: &Query) -> Result<serde_json::Value, String> {
        dump::config_dump(&self.shared, query)
    }

    /// `/clusters` in Envoy's text form.
    pub fn clusters_text(&self) -> String {
        status::clusters_text(&self.snapshot(), &self.shared.records())
    }

    /// `/clusters?format=json`.
    pub fn clusters_json(&self) -> serde_json::Value {
        status::clusters_json(&self.snapshot(), &self.shared.records())
    }

    /// `/listeners` in Envoy's text form: `name::address` a line.
    pub fn listeners_text(&self) -> String {
        status::listeners_text(&self.snapshot())
    }

    /// `/listeners?format=json`.
    pub fn listeners_json(&self) -> serde_json::Value {
        status::listeners_json(&self.snapshot())
    }

    /// `/certs`: the certificates and trust bundles in use.
    pub fn certs_json(&self) -> serde_json::Value {
        let secrets = self
            .shared
            .secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        status::certs_json(&secrets)
    }

    /// How long the workload's own certificate is still good, in seconds; negative when it is
    /// over. `None` while there is none.
    pub fn own_certificate_left(&self) -> Option<i64> {
        status::seconds_left(&*self.secret(super::OWN_CERTIFICATE)?)
    }

    /// The secret in force under that name.
    pub fn secret(&self, name: &str) -> Option<Arc<crate::tls::Secret>> {
        self.shared
            .secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }
}
