//! Worlds translated for proxies: once for all that see the same.

use super::lock::lock;
use crate::issue::Issue;
use crate::proxy::Proxy;
use crate::translate::{Own, ShareKey, share_key, translate};
use crate::view::{ServiceCache, View, ViewKey};
use crate::world::World;
use meltemi_xds::{ResourceSet, type_url};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

/// A World translated and encoded.
#[derive(Default)]
pub(super) struct Translated {
    pub sets: HashMap<&'static str, ResourceSet>,
    /// What of the objects in scope the proxy does not get.
    pub issues: Vec<Issue>,
    /// Kept for the next World.
    _parts: Option<(Arc<View>, Arc<Own>)>,
}

impl Translated {
    fn sidecar(view: &Arc<View>, own: &Arc<Own>) -> Self {
        let sets = HashMap::from([
            (type_url::CLUSTER, view.clusters.beside(&own.clusters)),
            (type_url::ENDPOINT, view.endpoints.clone()),
            (type_url::LISTENER, own.listeners.clone()),
            (type_url::ROUTE, view.routes.routes.clone()),
            (type_url::VIRTUAL_HOST, view.routes.virtual_hosts.clone()),
            (type_url::SECRET, own.secrets.clone()),
            (type_url::NAME_TABLE, view.names.clone()),
        ]);
        Self {
            sets,
            issues: view.issues.iter().chain(&own.issues).cloned().collect(),
            _parts: Some((view.clone(), own.clone())),
        }
    }
}

/// What a connection was served last, and from which generation of the World.
#[derive(Clone)]
pub(super) struct Served {
    pub generation: u64,
    pub translated: Arc<Translated>,
}

/// The translations of the newest World; replicas have one in common, and all sidecars that
/// see the same have the greater part of it.
#[derive(Default)]
pub(super) struct Translations {
    services: ServiceCache,
    views: Shared<ViewKey, View>,
    own: Shared<ShareKey, Own>,
    whole: Shared<ShareKey, Translated>,
    swept: Mutex<u64>,
}

impl Translations {
    pub fn of(&self, world: &World, proxy: &Proxy) -> Arc<Translated> {
        self.sweep(world.generation);
        let key = share_key(world, proxy);
        let Some(view_key) = ViewKey::of(world, &key) else {
            return self.whole.get(&key, world.generation, |_| {
                let resources = translate(world, proxy);
                Translated {
                    sets: resources.encode(),
                    issues: resources.issues,
                    _parts: None,
                }
            });
        };
        self.whole.get(&key, world.generation, |_| {
            let view = self.views.get(&view_key, world.generation, |before| {
                View::new(world, &view_key, before, &self.services)
            });
            let own = self
                .own
                .get(&key, world.frame_since, |_| Own::new(world, proxy));
            Translated::sidecar(&view, &own)
        })
    }

    /// Once a generation: lets go of what no connection was served last.
    fn sweep(&self, generation: u64) {
        let mut swept = lock(&self.swept);
        if *swept < generation {
            *swept = generation;
            self.whole.sweep();
            self.own.sweep();
            self.views.sweep();
            self.services.sweep();
        }
    }
}

/// Values by key, each made once for all who ask for it at the same time.
struct Shared<K, V>(Mutex<HashMap<K, Arc<Mutex<Slot<V>>>>>);

struct Slot<V> {
    /// Of which generation it is; none yet: 0.
    generation: u64,
    value: Option<Arc<V>>,
}

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone, V> Shared<K, V> {
    /// The value of at least that generation; made from the earlier one where it is missing.
    fn get(&self, key: &K, generation: u64, make: impl FnOnce(Option<&V>) -> V) -> Arc<V> {
        let slot = {
            let mut slots = lock(&self.0);
            match slots.get(key) {
                Some(slot) => slot.clone(),
                None => {
                    let empty = Slot {
                        generation: 0,
                        value: None,
                    };
                    let slot = Arc::new(Mutex::new(empty));
                    slots.insert(key.clone(), slot.clone());
                    slot
                }
            }
        };
        let mut slot = lock(&slot);
        if let Some(value) = &slot.value
            && slot.generation >= generation
        {
            return value.clone();
        }
        let value = Arc::new(make(slot.value.as_deref()));
        *slot = Slot {
            generation,
            value: Some(value.clone()),
        };
        value
    }

    fn sweep(&self) {
        lock(&self.0).retain(|_, slot| {
            // A slot that is not free is in use.
            Arc::strong_count(slot) > 1
                || slot.try_lock().map_or(true, |slot| {
                    let value = slot.value.as_ref();
                    value.is_some_and(|value| Arc::strong_count(value) > 1)
                })
        });
    }
}
