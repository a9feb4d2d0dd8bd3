//! Clusters and their endpoints: CDS, EDS, DNS.

use super::counters::Updates;
use super::dns::{Resolved, Watch};
use super::endpoints;
use super::record::{Kind, State as RecordState};
use super::state::{EdsEntry, Incoming, State, deadline};
use crate::compile::assignment::{Assignment, Host};
use crate::compile::{self, At, Cx, Error, Names, References, pb};
use crate::model::{
    Cluster, ClusterConfig, ClusterShared, Discovery, EndpointSet, UpstreamTransport,
};
use prost::Message;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a DNS cluster's first resolution is waited for.
const FIRST_RESOLUTION: Duration = Duration::from_secs(5);

/// A cluster's name: what is in force, and what is being warmed to replace it.
#[derive(Default)]
pub struct ClusterEntry {
    pub fixed: bool,
    hash: u64,
    active: Option<Active>,
    /// Seldom there for long.
    warming: Option<Box<Warming>>,
}

struct Active {
    cluster: Arc<Cluster>,
    parts: Parts,
}

struct Warming {
    config: Arc<ClusterConfig>,
    parts: Parts,
    deadline: Option<Instant>,
}

/// What a cluster is made of besides its configuration.
struct Parts {
    /// Its own endpoints (static ones, or names to resolve).
    assignment: Option<Arc<Assignment>>,
    /// Addresses of the names in `assignment`, once known.
    addresses: Option<HashMap<Box<str>, Vec<IpAddr>>>,
    references: References,
    _watch: Option<Watch>,
}

impl ClusterEntry {
    pub fn active(&self) -> Option<&Arc<Cluster>> {
        self.active.as_ref().map(|active| &active.cluster)
    }

    /// The latest configuration.
    pub fn config(&self) -> Option<&Arc<ClusterConfig>> {
        let active = self.active.as_ref().map(|active| &active.cluster.config);
        let warming = self.warming.as_ref().map(|warming| &warming.config);
        warming.or(active)
    }

    pub fn is_warming(&self) -> bool {
        self.warming.is_some()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.warming.as_ref()?.deadline
    }

    /// The EDS services it needs.
    fn services(&self) -> impl Iterator<Item = &str> {
        [
            self.active.as_ref().map(|active| &active.cluster.config),
            self.warming.as_ref().map(|warming| &warming.config),
        ]
        .into_iter()
        .flatten()
        .filter_map(|config| match &config.discovery {
            Discovery::Eds(service) => Some(&**service),
            _ => None,
        })
    }

    /// Everything it refers to, now or when it is warm.
    pub fn references(&self) -> impl Iterator<Item = &References> {
        let active = self.active.as_ref().map(|active| &active.parts.references);
        let warming = self
            .warming
            .as_ref()
            .map(|warming| &warming.parts.references);
        active.into_iter().chain(warming)
    }
}

/// A decoded and compiled cluster.
pub struct Compiled {
    cluster: compile::CompiledCluster,
    references: References,
    notices: Vec<compile::Notice>,
}

/// Decodes and compiles; touches nothing but the names.
pub fn compile_cluster(incoming: &Incoming, names: &mut Names) -> Result<Compiled, Error> {
    let message = pb::cluster::Cluster::decode(incoming.body.clone())
        .map_err(|error| Error::new(format!("malformed: {error}")))?;
    let mut cx = Cx::new(names);
    let cluster = compile::cluster(message, incoming.hash, &mut cx)?;
    let (references, notices) = cx.finish();
    Ok(Compiled {
        cluster,
        references,
        notices,
    })
}

impl State {
    /// Takes a cluster in. An equal one changes nothing but its version.
    ///
    /// # Errors
    /// When it cannot be honoured; the former one stays in force.
    pub fn apply_cluster(&mut self, incoming: &Incoming) -> Result<(), Error> {
        if let Some(entry) = self.clusters.get(&incoming.name) {
            if entry.fixed && !incoming.fixed {
                return Err(Error::new("has the name of a static cluster"));
            }
            if entry.hash == incoming.hash && (entry.active.is_some() || entry.warming.is_some()) {
                self.shared
                    .records()
                    .renew(Kind::Cluster, &incoming.name, &incoming.version);
                return Ok(());
            }
        }
        let Compiled {
            cluster,
            references,
            notices,
        } = compile_cluster(incoming, &mut self.names)?;
        let compile::CompiledCluster {
            config,
            assignment,
            fetch_timeout,
        } = cluster;
        if *config.name != *incoming.name {
            return Err(Error::new(format!("is named {:?} inside", config.name)).at_field("name"));
        }
        self.secrets.register(&references).at("transport_socket")?;
        let config = Arc::new(config);
        let wait = match &config.discovery {
            Discovery::Eds(_) => fetch_timeout,
            _ => FIRST_RESOLUTION,
        };
        let watch = match &config.discovery {
            Discovery::StrictDns(options) | Discovery::LogicalDns(options) => Some(Watch::start(
                self.resolver.clone(),
                incoming.name.clone(),
                incoming.hash,
                options.clone(),
                self.resolved.clone(),
                Updates::of_cluster(config.stat_name()),
            )),
            _ => None,
        };
        let entry = self.clusters.entry(incoming.name.clone()).or_default();
        // The names' addresses hold for the new configuration until it has its own.
        let addresses = entry
            .active
            .as_ref()
            .and_then(|active| active.parts.addresses.clone());
        let is_new = entry.active.is_none() && entry.warming.is_none();
        self.counters.clusters.taken(is_new);
        entry.fixed = incoming.fixed;
        entry.hash = incoming.hash;
        entry.warming = Some(Box::new(Warming {
            config,
            parts: Parts {
                assignment: assignment.map(Arc::new),
                addresses,
                references,
                _watch: watch,
            },
            deadline: deadline(wait),
        }));
        self.references_changed = true;
        self.accept(Kind::Cluster, incoming, RecordState::Warming, notices);
        Ok(())
    }

    pub fn remove_cluster(&mut self, name: &str) {
        if self.clusters.get(name).is_some_and(|entry| !entry.fixed) {
            self.clusters.remove(name);
            self.counters.clusters.removed.inc();
            self.shared.records().remove(Kind::Cluster, name);
            self.dirty.clusters = true;
            self.references_changed = true;
        }
    }

    /// Puts clusters into force that have what they need, or have waited long enough.
    pub fn settle_clusters(&mut self) {
        let now = Instant::now();
        let ready: Vec<Arc<str>> = self
            .clusters
            .iter()
            .filter(|(_, entry)| match &entry.warming {
                Some(warming) => {
                    self.has_endpoints(warming)
                        || warming.deadline.is_some_and(|deadline| deadline <= now)
                }
                None => false,
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in ready {
            self.activate_cluster(&name);
        }
    }

    fn has_endpoints(&self, warming: &Warming) -> bool {
        match &warming.config.discovery {
            Discovery::Static | Discovery::OriginalDst { .. } | Discovery::DynamicForward(_) => {
                true
            }
            Discovery::Eds(service) => self.endpoints.contains_key(&**service),
            Discovery::StrictDns(options) | Discovery::LogicalDns(options) => {
                options.names.is_empty() || warming.parts.addresses.is_some()
            }
        }
    }

    fn activate_cluster(&mut self, name: &Arc<str>) {
        let id = self.names.cluster(name);
        let Some(entry) = self.clusters.get_mut(name) else {
            return;
        };
        let Some(warming) = entry.warming.take() else {
            return;
        };
        let Warming { config, parts, .. } = *warming;
        let empty = EndpointSet::default();
        let (former, shared) = match &entry.active {
            Some(active) => (&*active.cluster.endpoints, active.cluster.shared.clone()),
            None => (&empty, Arc::new(ClusterShared::default())),
        };
        let endpoints = endpoint_set(&config, &parts, &self.endpoints, former);
        entry.active = Some(Active {
            cluster: Arc::new(Cluster {
                id,
                config,
                endpoints: Arc::new(endpoints),
                shared,
            }),
            parts,
        });
        self.dirty.clusters = true;
        self.references_changed = true;
        self.shared
            .records()
            .set_state(Kind::Cluster, name, RecordState::Active);
    }

    /// Takes a service's endpoints in.
    ///
    /// # Errors
    /// When they cannot be honoured; the former ones stay in force.
    pub fn apply_endpoints(&mut self, incoming: &Incoming) -> Result<(), Error> {
        let known = self.endpoints.get(&incoming.name);
        if known.is_some_and(|entry| entry.hash == incoming.hash) {
            self.shared
                .records()
                .renew(Kind::Endpoints, &incoming.name, &incoming.version);
            return Ok(());
        }
        let message = pb::endpoint::ClusterLoadAssignment::decode(incoming.body.clone())
            .map_err(|error| Error::new(format!("malformed: {error}")))?;
        let mut cx = Cx::new(&mut self.names);
        let assignment = compile::assignment::assignment(message, false, &mut cx)?;
        let (_, notices) = cx.finish();
        self.endpoints.insert(
            incoming.name.clone(),
            EdsEntry {
                hash: incoming.hash,
                assignment: Arc::new(assignment),
            },
        );
        self.accept(Kind::Endpoints, incoming, RecordState::Active, notices);
        Ok(())
    }

    /// The control plane knows no such service, or refused endpoints came first: clusters
    /// of it no longer wait. What was known stays (as Envoy keeps it).
    pub fn endpoints_missing(&mut self, service: &str) {
        for entry in self.clusters.values_mut() {
            if let Some(warming) = &mut entry.warming
                && matches!(&warming.config.discovery, Discovery::Eds(name) if **name == *service)
            {
                warming.deadline = Some(Instant::now());
            }
        }
    }

    /// Rebuilds the clusters in force whose service is among these.
    pub fn refresh_endpoints(&mut self, services: &BTreeSet<Arc<str>>) {
        if services.is_empty() {
            return;
        }
        for entry in self.clusters.values_mut() {
            let Some(active) = &mut entry.active else {
                continue;
            };
            let Discovery::Eds(service) = &active.cluster.config.discovery else {
                continue;
            };
            if services.contains(&**service) {
                active.rebuild(&self.endpoints);
                self.dirty.clusters = true;
            }
        }
    }

    /// Takes the result of a resolution in.
    pub fn apply_resolved(&mut self, resolved: Resolved) {
        let Some(entry) = self.clusters.get_mut(&resolved.cluster) else {
            return;
        };
        if entry.hash != resolved.config_hash {
            return;
        }
        if let Some(warming) = &mut entry.warming {
            warming.parts.addresses = Some(resolved.addresses);
        } else if let Some(active) = &mut entry.active {
            active.parts.addresses = Some(resolved.addresses);
            active.rebuild(&self.endpoints);
            self.dirty.clusters = true;
        }
    }

    /// All EDS services that clusters want.
    pub fn wanted_services(&self) -> BTreeSet<String> {
        self.clusters
            .values()
            .flat_map(|entry| entry.services().map(str::to_owned))
            .collect()
    }

    /// Forgets endpoints that no cluster wants any more.
    pub fn forget_endpoints(&mut self, wanted: &BTreeSet<String>) {
        let mut records = self.shared.records();
        self.endpoints.retain(|name, _| {
            let keep = wanted.contains(&**name);
            if !keep {
                records.remove(Kind::Endpoints, name);
            }
            keep
        });
    }
}

impl Active {
    fn rebuild(&mut self, services: &HashMap<Arc<str>, EdsEntry>) {
        let former = &self.cluster;
        let endpoints = endpoint_set(&former.config, &self.parts, services, &former.endpoints);
        self.cluster = Arc::new(Cluster {
            id: former.id,
            config: former.config.clone(),
            endpoints: Arc::new(endpoints),
            shared: former.shared.clone(),
        });
    }
}

fn endpoint_set(
    config: &ClusterConfig,
    parts: &Parts,
    services: &HashMap<Arc<str>, EdsEntry>,
    former: &EndpointSet,
) -> EndpointSet {
    let resolved;
    let assignment = match &config.discovery {
        Discovery::OriginalDst { .. } | Discovery::DynamicForward(_) => {
            return EndpointSet::default();
        }
        Discovery::Eds(service) => services.get(&**service).map(|entry| &*entry.assignment),
        Discovery::Static => parts.assignment.as_deref(),
        Discovery::StrictDns(_) | Discovery::LogicalDns(_) => {
            let logical = matches!(config.discovery, Discovery::LogicalDns(_));
            resolved = parts
                .assignment
                .as_deref()
                .map(|names| resolve(names, parts.addresses.as_ref(), logical));
            resolved.as_ref()
        }
    };
    match assignment {
        Some(assignment) => endpoints::build(config, assignment, former),
        None => EndpointSet::default(),
    }
}

/// Puts addresses in the place of names: all of them, or for LOGICAL_DNS the first.
fn resolve(
    names: &Assignment,
    addresses: Option<&HashMap<Box<str>, Vec<IpAddr>>>,
    logical: bool,
) -> Assignment {
    let mut resolved = names.clone();
    for locality in &mut resolved.localities {
        let specs = std::mem::take(&mut locality.endpoints);
        for spec in specs {
            let Host::Name(name, port) = &spec.host else {
                locality.endpoints.push(spec);
                continue;
            };
            let found = addresses.and_then(|known| known.get(name));
            let most = if logical { 1 } else { usize::MAX };
            for ip in found.into_iter().flatten().take(most) {
                let mut endpoint = spec.clone();
                endpoint.host = Host::Address((*ip, *port).into());
                locality.endpoints.push(endpoint);
            }
        }
    }
    resolved
}

/// The way to a server of the proxy's own (ADS, SDS): the first endpoint of a cluster.
pub struct Target {
    pub host: TargetHost,
    pub transport: UpstreamTransport,
}

pub enum TargetHost {
    Pipe(PathBuf),
    /// `host:port`, names are resolved when a connection is made.
    Address(String),
}

impl ClusterEntry {
    /// `None` when it has no endpoint of its own.
    pub fn target(&self) -> Option<Target> {
        let active = self
            .active
            .as_ref()
            .map(|active| (&active.cluster.config, &active.parts));
        let warming = self
            .warming
            .as_ref()
            .map(|warming| (&warming.config, &warming.parts));
        let (config, parts) = active.or(warming)?;
        let endpoint = parts.assignment.as_ref()?.endpoints().next()?;
        Some(Target {
            host: match &endpoint.host {
                Host::Pipe(path) => TargetHost::Pipe(path.clone()),
                Host::Address(address) => TargetHost::Address(address.to_string()),
                Host::Name(name, port) => TargetHost::Address(format!("{name}:{port}")),
            },
            transport: config.transport.default.clone(),
        })
    }
}
