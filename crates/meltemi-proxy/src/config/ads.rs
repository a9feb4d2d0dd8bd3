//! The ADS stream: subscriptions, and updates that are accepted or refused resource by
//! resource.

use super::StartError;
use super::record::Kind;
use super::state::{Incoming, Stage, State};
use crate::compile::{Error, content_hash};
use meltemi_xds::client::{
    AdsClient, Authorization, ClientOptions, Endpoint, Mode, RawResource, Tls, Update,
};
use meltemi_xds::nds::NameTable;
use meltemi_xds::type_url as types;
use prost::Message;
use rustls_pki_types::ServerName;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Resources handled at a stretch before other tasks of the thread get their turn.
const STRETCH: usize = 128;
/// Most refusals spelled out in one NACK; the others are in the log and the dump.
const MOST_NAMED: usize = 20;

pub struct Ads {
    client: AdsClient,
    pub server: Endpoint,
    name_table: watch::Sender<Arc<NameTable>>,
    subscribed: HashMap<Kind, BTreeSet<String>>,
    /// Listeners are asked for once clusters are warm, so that they find them.
    listeners: bool,
}

impl Ads {
    /// `None` without ADS in the bootstrap.
    pub fn start(
        state: &State,
        authorization: Option<Authorization>,
        name_table: watch::Sender<Arc<NameTable>>,
    ) -> Result<Option<(Self, mpsc::Receiver<Update>)>, StartError> {
        let bootstrap = &state.shared.bootstrap;
        let Some(source) = &bootstrap.ads else {
            return Ok(None);
        };
        let endpoint = endpoint(state, &source.cluster)
            .map_err(|reason| StartError::Ads(source.cluster.clone(), reason))?;
        let mut node = bootstrap.node.clone();
        let mode = if source.delta {
            let discovery = meltemi_xds::VIRTUAL_HOST_DISCOVERY.to_owned();
            node.client_features.push(discovery);
            Mode::Delta
        } else {
            Mode::StateOfTheWorld
        };
        let (client, updates) = AdsClient::spawn(ClientOptions {
            mode,
            authorization,
            ..ClientOptions::new(endpoint.clone(), node)
        });
        *state
            .shared
            .control_plane
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(client.status());
        if bootstrap.cds.is_some() {
            client.subscribe_all(types::CLUSTER);
        }
        if captures_dns(state) {
            client.subscribe_all(types::NAME_TABLE);
        }
        state.counters.follow(client.status());
        let ads = Self {
            client,
            server: endpoint,
            name_table,
            subscribed: HashMap::new(),
            listeners: false,
        };
        Ok(Some((ads, updates)))
    }

    /// Asks for listeners once the first clusters are warm, so that they find them.
    pub fn subscribe_listeners(&mut self, state: &State) {
        if !self.listeners && state.shared.bootstrap.lds.is_some() && state.clusters_settled() {
            self.listeners = true;
            self.client.subscribe_all(types::LISTENER);
        }
    }

    /// Tells the server what is wanted now.
    pub fn subscribe(
        &mut self,
        state: &State,
        services: BTreeSet<String>,
        routes: BTreeSet<String>,
    ) {
        for (kind, names) in [
            (Kind::Endpoints, services),
            (Kind::Route, routes),
            (Kind::VirtualHost, state.wanted_virtual_hosts()),
            (Kind::Secret, state.secrets.by_ads()),
        ] {
            let known = self.subscribed.entry(kind).or_default();
            if *known != names {
                self.client.set_names(kind.type_url(), names.clone());
                *known = names;
            }
        }
    }

    /// Applies an update and answers it.
    pub async fn update(&mut self, state: &mut State, update: Update) {
        let Update {
            type_url,
            added,
            removed,
            version: _,
            nonce: _,
            answer,
        } = update;
        if *type_url == *types::NAME_TABLE {
            match self.names(added) {
                Ok(()) => answer.ack(),
                Err(error) => answer.nack_all(error.to_string()),
            }
            return;
        }
        let Some(kind) = Kind::of_type(&type_url) else {
            answer.nack_all(format!("{type_url} was not asked for"));
            return;
        };
        let mut refused: Vec<(Arc<str>, Error)> = Vec::new();
        let mut services = BTreeSet::new();
        // First, so that others may take their addresses (as Envoy's LDS).
        if kind == Kind::Listener {
            removed.iter().for_each(|name| state.remove_listener(name));
        }
        for (index, resource) in added.into_iter().enumerate() {
            if index % STRETCH == STRETCH - 1 {
                tokio::task::yield_now().await;
            }
            let RawResource {
                name,
                version,
                type_url,
                body,
            } = resource;
            let incoming = Incoming {
                hash: content_hash(&body),
                name,
                version,
                fixed: false,
                body,
            };
            let result = if *type_url == *kind.type_url() {
                apply(state, kind, &incoming)
            } else {
                Err(Error::new(format!("holds {type_url}")))
            };
            match result {
                Ok(()) if kind == Kind::Endpoints => {
                    services.insert(incoming.name);
                }
                Ok(()) => {}
                Err(error) => {
                    state.refuse(kind, &incoming.name, &incoming.version, &error);
                    missing(state, kind, &incoming.name);
                    refused.push((incoming.name, error));
                }
            }
        }
        for name in &removed {
            match kind {
                Kind::Cluster => state.remove_cluster(name),
                // Like Envoy, what is still referred to keeps its last good version.
                Kind::Endpoints | Kind::Route => missing(state, kind, &Arc::from(name.as_str())),
                Kind::VirtualHost => state.remove_virtual_host(name),
                Kind::Listener | Kind::Secret => {}
            }
        }
        if kind == Kind::VirtualHost {
            refused.append(&mut state.settle_virtual_hosts());
        }
        state.refresh_endpoints(&services);
        let names = refused.iter().map(|(name, _)| &**name).collect();
        state.count_update(kind, refused.is_empty(), &services, &names);
        match kind {
            Kind::Cluster => state.progress.cds = Stage::Done,
            Kind::Listener => state.progress.lds = Stage::Done,
            Kind::Endpoints | Kind::Route | Kind::VirtualHost | Kind::Secret => {}
        }
        if refused.is_empty() {
            answer.ack();
        } else {
            let message = message(kind, &refused);
            answer.nack(message, refused.iter().map(|(name, _)| name.to_string()));
        }
    }

    fn names(&self, added: Vec<RawResource>) -> Result<(), Error> {
        let Some(resource) = added.into_iter().next_back() else {
            return Ok(());
        };
        let table = NameTable::decode(resource.body)
            .map_err(|error| Error::new(format!("name table: malformed: {error}")))?;
        self.name_table.send_replace(Arc::new(table));
        Ok(())
    }
}

fn apply(state: &mut State, kind: Kind, incoming: &Incoming) -> Result<(), Error> {
    match kind {
        Kind::Cluster => state.apply_cluster(incoming),
        Kind::Endpoints => state.apply_endpoints(incoming),
        Kind::Listener => state.apply_listener(incoming),
        Kind::Route => state.apply_route(incoming),
        Kind::VirtualHost => state.apply_virtual_host(incoming),
        Kind::Secret => state.apply_secret(&incoming.name, &incoming.version, &incoming.body),
    }
}

/// Whoever waits for this resource waits no longer.
fn missing(state: &mut State, kind: Kind, name: &Arc<str>) {
    match kind {
        Kind::Endpoints => state.endpoints_missing(name),
        Kind::Route => state.route_missing(name),
        Kind::Cluster | Kind::Listener | Kind::VirtualHost | Kind::Secret => {}
    }
}

fn message(kind: Kind, refused: &[(Arc<str>, Error)]) -> String {
    let mut text = String::new();
    for (name, error) in refused.iter().take(MOST_NAMED) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&format!("{} {name:?}: {error}", kind.as_str()));
    }
    if refused.len() > MOST_NAMED {
        text.push_str(&format!("; and {} more", refused.len() - MOST_NAMED));
    }
    text
}

/// Istio's node metadata says whether the workload's DNS comes to the proxy.
fn captures_dns(state: &State) -> bool {
    state.shared.bootstrap.metadata("DNS_CAPTURE") == Some("true")
}

impl State {
    /// The first clusters came and are warm, or have been waited for long enough.
    fn clusters_settled(&self) -> bool {
        self.progress.cds.expired(Instant::now())
            && self.clusters.values().all(|entry| !entry.is_warming())
    }
}

/// The way to an xDS server by a static cluster.
fn endpoint(state: &State, cluster: &str) -> Result<Endpoint, String> {
    let entry = state
        .clusters
        .get(cluster)
        .ok_or("is not a static cluster")?;
    let target = entry.target().ok_or("has no endpoint")?;
    let address = match target.host {
        super::clusters::TargetHost::Pipe(path) => return Ok(Endpoint::Unix(path)),
        super::clusters::TargetHost::Address(address) => address,
    };
    if target.transport.header().is_some() {
        return Err("the PROXY protocol to the control plane is not supported".to_owned());
    }
    let tls = match target.transport.tls().cloned() {
        None => None,
        Some(context) => {
            let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host);
            let name = context.sni.as_deref().unwrap_or(host).to_owned();
            let server_name = ServerName::try_from(name.clone())
                .map_err(|_| format!("{name:?} is not a server name"))?;
            Some(Tls {
                config: Arc::new(move || {
                    let current = context.config.load_full();
                    let current = current.ok_or("waiting for the secrets of its TLS context")?;
                    let mut config = (*current.own).clone();
                    // gRPC is HTTP/2, whether or not the context says so.
                    config.alpn_protocols = vec![b"h2".to_vec()];
                    Ok(Arc::new(config))
                }),
                server_name,
            })
        }
    };
    Ok(Endpoint::Tcp { address, tls })
}
