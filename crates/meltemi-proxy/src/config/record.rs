//! What is known of each configured resource: its version, its bytes, what went wrong.

use crate::compile::Notice;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// The kinds of resources, in the order in which they are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Cluster,
    Endpoints,
    Listener,
    Route,
    VirtualHost,
    Secret,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::Cluster,
        Kind::Endpoints,
        Kind::Listener,
        Kind::Route,
        Kind::VirtualHost,
        Kind::Secret,
    ];

    pub fn type_url(self) -> &'static str {
        match self {
            Kind::Cluster => meltemi_xds::type_url::CLUSTER,
            Kind::Endpoints => meltemi_xds::type_url::ENDPOINT,
            Kind::Listener => meltemi_xds::type_url::LISTENER,
            Kind::Route => meltemi_xds::type_url::ROUTE,
            Kind::VirtualHost => meltemi_xds::type_url::VIRTUAL_HOST,
            Kind::Secret => meltemi_xds::type_url::SECRET,
        }
    }

    /// `None` for types that the proxy does not subscribe to.
    pub fn of_type(type_url: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.type_url() == type_url)
    }

    /// For messages: `cluster`, `listener` ...
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Cluster => "cluster",
            Kind::Endpoints => "endpoints",
            Kind::Listener => "listener",
            Kind::Route => "route table",
            Kind::VirtualHost => "virtual host",
            Kind::Secret => "secret",
        }
    }
}

/// Whether the workers use a resource yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for something it refers to.
    Warming,
    Active,
    /// Nothing good was ever received under this name.
    Failed,
}

/// One resource as the admin API shows it.
#[derive(Clone, Debug)]
pub struct Record {
    pub name: Arc<str>,
    pub version: Arc<str>,
    /// From the bootstrap, not from ADS.
    pub fixed: bool,
    pub state: State,
    pub updated: SystemTime,
    /// The message in force, encoded (without the `Any` around it). Empty for secrets,
    /// whose private keys are not kept twice, and while nothing good was received.
    pub body: Bytes,
    /// What the resource is honoured without.
    pub notices: Vec<Notice>,
    /// The last update, when it was refused.
    pub failure: Option<Failure>,
}

/// A refused update.
#[derive(Clone, Debug)]
pub struct Failure {
    pub version: Arc<str>,
    pub at: SystemTime,
    pub details: String,
}

/// All records, by kind and name.
#[derive(Default)]
pub struct Records {
    kinds: BTreeMap<Kind, BTreeMap<Arc<str>, Record>>,
}

impl Records {
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Record> {
        self.kinds
            .get(&kind)
            .into_iter()
            .flat_map(|map| map.values())
    }

    pub fn get(&self, kind: Kind, name: &str) -> Option<&Record> {
        self.kinds.get(&kind)?.get(name)
    }

    pub(super) fn accept(&mut self, kind: Kind, record: Record) {
        self.kinds
            .entry(kind)
            .or_default()
            .insert(record.name.clone(), record);
    }

    pub(super) fn refuse(&mut self, kind: Kind, name: &Arc<str>, failure: Failure) {
        let record = self
            .kinds
            .entry(kind)
            .or_default()
            .entry(name.clone())
            .or_insert_with(|| Record {
                name: name.clone(),
                version: "".into(),
                fixed: false,
                state: State::Failed,
                updated: failure.at,
                body: Bytes::new(),
                notices: Vec::new(),
                failure: None,
            });
        record.failure = Some(failure);
    }

    /// An equal resource under a new version: a refusal in between is over.
    pub(super) fn renew(&mut self, kind: Kind, name: &str, version: &Arc<str>) {
        if let Some(record) = self.kinds.get_mut(&kind).and_then(|map| map.get_mut(name)) {
            record.version = version.clone();
            record.failure = None;
        }
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &str) {
        if let Some(map) = self.kinds.get_mut(&kind) {
            map.remove(name);
        }
    }

    pub(super) fn set_state(&mut self, kind: Kind, name: &str, state: State) {
        if let Some(record) = self.kinds.get_mut(&kind).and_then(|map| map.get_mut(name)) {
            record.state = state;
        }
    }
}
