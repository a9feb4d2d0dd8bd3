//! The manager's task: what happens, in one place.

use super::ads::Ads;
use super::counters::Counters;
use super::dns::Resolved;
use super::handle::{Handle, Readiness, Shared};
use super::record::{Kind, State as RecordState};
use super::sds::{self, Streams};
use super::secrets::Secrets;
use super::state::{Dirty, Incoming, Progress, Stage, State};
use super::unbound::Unbound;
use super::{Options, OwnSecrets, StartError};
use crate::bootstrap::Bootstrap;
use crate::compile::{At, Error, Names, content_hash, pb, secret};
use crate::dns::{Lookups, Resolver};
use crate::model::Snapshot;
use bytes::Bytes;
use meltemi_xds::client::Update;
use meltemi_xds::nds::NameTable;
use prost::Message;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often files of secrets are looked at.
const FILES_INTERVAL: Duration = Duration::from_secs(1);

/// Starts the configuration's task.
pub struct Manager;

impl Manager {
    /// Compiles the bootstrap's resources, publishes the first snapshot and goes on with
    /// ADS on the current tokio runtime. The task ends when the last handle is dropped.
    ///
    /// # Errors
    /// When a static resource cannot be honoured, or the way to the ADS server is unclear.
    pub fn start(bootstrap: Bootstrap, options: Options) -> Result<Handle, StartError> {
        let Options {
            identity,
            authorization,
            name_servers,
            probe,
        } = options;
        let (snapshots, snapshots_receiver) = watch::channel(Arc::new(Snapshot::default()));
        let (name_table, name_table_receiver) = watch::channel(Arc::new(NameTable::default()));
        let (readiness, _) =
            watch::channel(Readiness::PreInitializing("has not started".to_owned()));
        let shared = Arc::new(Shared {
            bootstrap,
            records: Mutex::default(),
            secrets: Mutex::default(),
            readiness,
            control_plane: Mutex::default(),
        });
        let (resolved_sender, resolved) = mpsc::channel(64);
        let bootstrap = &shared.bootstrap;
        for notice in &bootstrap.notices {
            tracing::info!(
                field = notice.field,
                reason = &*notice.reason,
                "bootstrap accepted without"
            );
        }
        let resolver = Arc::new(Resolver::new(name_servers));
        let mut state = State {
            snapshots,
            names: Names::resolving(Lookups::new(resolver.clone())),
            clusters: BTreeMap::new(),
            endpoints: HashMap::new(),
            listeners: BTreeMap::new(),
            unbound: Unbound::default(),
            routes: HashMap::new(),
            secrets: Secrets::new(shared.clone(), identity.is_some()),
            resolver,
            resolved: resolved_sender,
            dirty: Dirty::default(),
            references_changed: true,
            counters: Counters::new(),
            progress: Progress {
                cds: Stage::new(bootstrap.cds),
                lds: Stage::new(bootstrap.lds),
            },
            shared: shared.clone(),
        };
        if let Some(identity) = &identity {
            state.secrets.own(&identity.borrow());
        }
        static_resources(&mut state)?;
        state.unbound.probe = probe;
        state.settle();
        let (ads, updates) = match Ads::start(&state, authorization, name_table)? {
            Some((ads, updates)) => (Some(ads), Some(updates)),
            None => (None, None),
        };
        let stop = CancellationToken::new();
        let (sds_events, sds_receiver) = mpsc::channel(16);
        let ads_server = ads.as_ref().map(|ads| ads.server.clone());
        let task = Task {
            streams: Streams::new(shared.bootstrap.node.clone(), sds_events),
            state,
            ads,
            updates,
            resolved,
            sds: sds_receiver,
            identity,
        };
        tokio::spawn(task.run(stop.clone()));
        Ok(Handle {
            snapshots: snapshots_receiver,
            name_table: name_table_receiver,
            ads_server,
            shared,
            _stop: Arc::new(stop.drop_guard()),
        })
    }
}

fn static_resources(state: &mut State) -> Result<(), StartError> {
    let shared = state.shared.clone();
    let bootstrap = &shared.bootstrap;
    let refused = |kind: Kind, name: &str, error: Error| StartError::Static {
        kind: kind.as_str(),
        name: name.to_owned(),
        error,
    };
    for body in &bootstrap.secrets {
        let (name, source) = pb::tls::Secret::decode(body.clone())
            .map_err(|error| Error::new(format!("malformed: {error}")))
            .and_then(|message| {
                let name = message.name.clone();
                Ok((name, secret::secret_source(message)?))
            })
            .map_err(|error| refused(Kind::Secret, "", error))?;
        state.secrets.add_fixed(&name, source);
        let mut incoming = fixed(&name, body);
        // The private key is not kept for a dump.
        incoming.body = Bytes::new();
        state.accept(Kind::Secret, &incoming, RecordState::Active, Vec::new());
    }
    for (index, body) in bootstrap.clusters.iter().enumerate() {
        let name = name_of(body, index);
        state
            .apply_cluster(&fixed(&name, body))
            .map_err(|error| refused(Kind::Cluster, &name, error))?;
    }
    for (index, body) in bootstrap.listeners.iter().enumerate() {
        let name = name_of(body, index);
        state
            .apply_listener(&fixed(&name, body))
            .map_err(|error| refused(Kind::Listener, &name, error))?;
    }
    Ok(())
}

fn fixed(name: &str, body: &Bytes) -> Incoming {
    Incoming {
        name: name.into(),
        version: "".into(),
        fixed: true,
        body: body.clone(),
        hash: content_hash(body),
    }
}

/// The name of a `Listener` or a `Cluster`, without decoding the rest of it.
pub fn name_of(body: &Bytes, index: usize) -> String {
    /// Both have their name in field 1.
    #[derive(Clone, PartialEq, Message)]
    struct Named {
        #[prost(string, tag = "1")]
        name: String,
    }
    match Named::decode(body.clone()) {
        Ok(Named { name }) if !name.is_empty() => name,
        // Envoy makes up a UUID.
        _ => format!("unnamed-{index}"),
    }
}

struct Task {
    state: State,
    ads: Option<Ads>,
    updates: Option<mpsc::Receiver<Update>>,
    resolved: mpsc::Receiver<Resolved>,
    streams: Streams,
    sds: mpsc::Receiver<sds::Event>,
    identity: Option<watch::Receiver<OwnSecrets>>,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        let mut files = tokio::time::interval(FILES_INTERVAL);
        files.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.subscribe();
            let deadline = self.state.next_deadline();
            let watches_files = self.state.secrets.has_files();
            tokio::select! {
                () = stop.cancelled() => return,
                Some(update) = receive(&mut self.updates) => {
                    if let Some(ads) = &mut self.ads {
                        ads.update(&mut self.state, update).await;
                    }
                }
                Some(resolved) = self.resolved.recv() => self.state.apply_resolved(resolved),
                Some(event) = self.sds.recv() => self.secret(event),
                own = own_changed(&mut self.identity) => self.state.secrets.own(&own),
                () = sleep_until(deadline) => {}
                _ = files.tick(), if watches_files => {
                    self.state.secrets.poll_files();
                }
            }
            self.state.settle();
        }
    }

    /// Tells the servers what is wanted now.
    fn subscribe(&mut self) {
        if let Some(ads) = &mut self.ads {
            ads.subscribe_listeners(&self.state);
        }
        if !std::mem::take(&mut self.state.references_changed) {
            return;
        }
        let services = self.state.wanted_services();
        let routes = self.state.wanted_routes();
        self.state.forget_endpoints(&services);
        self.state.forget_routes(&routes);
        self.state.forget_secrets();
        if let Some(ads) = &mut self.ads {
            ads.subscribe(&self.state, services, routes);
        }
        self.streams.subscribe(&self.state);
    }

    fn secret(&mut self, event: sds::Event) {
        let sds::Event {
            name,
            version,
            body,
        } = event;
        if let Err(error) = self.state.apply_secret(&name, &version, &body) {
            self.state.refuse(Kind::Secret, &name, &version, &error);
        }
    }
}

impl State {
    /// Takes a discovered secret in.
    ///
    /// # Errors
    /// When it is unusable; the former one stays in force.
    pub fn apply_secret(
        &mut self,
        name: &Arc<str>,
        version: &Arc<str>,
        body: &Bytes,
    ) -> Result<(), Error> {
        let message = pb::tls::Secret::decode(body.clone())
            .map_err(|error| Error::new(format!("malformed: {error}")))?;
        let source = secret::secret_source(message)?;
        self.secrets.discovered(name, &source).at("secret")?;
        let incoming = Incoming {
            name: name.clone(),
            version: version.clone(),
            fixed: false,
            // The private key is not kept for a dump.
            body: Bytes::new(),
            hash: 0,
        };
        self.accept(Kind::Secret, &incoming, RecordState::Active, Vec::new());
        Ok(())
    }

    /// Forgets secrets that nothing refers to any more.
    fn forget_secrets(&mut self) {
        let clusters = self.clusters.values().flat_map(|entry| entry.references());
        let listeners = self.listeners.values().flat_map(|entry| entry.references());
        let wanted = clusters
            .chain(listeners)
            .flat_map(|references| &references.secrets)
            .map(|secret| &*secret.name)
            .collect();
        for name in self.secrets.retain(&wanted) {
            self.shared.records().remove(Kind::Secret, &name);
        }
    }
}

async fn receive(updates: &mut Option<mpsc::Receiver<Update>>) -> Option<Update> {
    match updates {
        Some(updates) => updates.recv().await,
        None => std::future::pending().await,
    }
}

async fn own_changed(identity: &mut Option<watch::Receiver<OwnSecrets>>) -> OwnSecrets {
    if let Some(receiver) = identity {
        if receiver.changed().await.is_ok() {
            return receiver.borrow_and_update().clone();
        }
        // Nobody renews it any more: what is in force stays.
        *identity = None;
    }
    std::future::pending().await
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
