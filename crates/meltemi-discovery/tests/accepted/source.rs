//! A control plane whose resources the test sets, and which keeps what is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::config::core::v3::Node;
use meltemi_xds::server::{Nack, PeerInfo};
use meltemi_xds::{ResourceSet, ResourceSource, Subscription, type_url};
use tokio::sync::watch;

pub type Sets = BTreeMap<&'static str, ResourceSet>;

#[derive(Clone)]
pub struct Source(Arc<Inner>);

struct Inner {
    sets: Mutex<Sets>,
    version: watch::Sender<u64>,
    refusals: Mutex<Vec<String>>,
}

impl Source {
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            sets: Mutex::default(),
            version: watch::Sender::new(0),
            refusals: Mutex::default(),
        }))
    }

    pub fn set(&self, sets: Sets) {
        *self.0.sets.lock().unwrap() = sets;
        self.0.version.send_modify(|version| *version += 1);
    }

    pub fn refusals(&self) -> Vec<String> {
        self.0.refusals.lock().unwrap().clone()
    }
}

impl ResourceSource for Source {
    type Proxy = ();

    fn connect(&self, _: &Node, _: &PeerInfo) -> Result<(), tonic::Status> {
        Ok(())
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    fn resources(&self, _: &(), type_url: &str, _: &Subscription) -> ResourceSet {
        let sets = self.0.sets.lock().unwrap();
        sets.get(type_url).cloned().unwrap_or_default()
    }

    fn on_nack(&self, _: &(), nack: &Nack<'_>) {
        let refusal = format!("{}: {}", type_url::short_name(nack.type_url), nack.message);
        self.0.refusals.lock().unwrap().push(refusal);
    }
}
