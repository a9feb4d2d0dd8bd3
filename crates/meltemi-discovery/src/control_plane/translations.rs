//! Worlds translated for proxies: once for all that see the same.

use super::proxies::{Connection, lock};
use super::state::State;
use crate::issue::Issue;
use crate::translate::{ShareKey, share_key, translate};
use crate::world::World;
use meltemi_xds::ResourceSet;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// A World translated and encoded.
#[derive(Default)]
pub(super) struct Translated {
    pub sets: HashMap<&'static str, ResourceSet>,
    /// What of the objects in scope the proxy does not get.
    pub issues: Vec<Issue>,
}

/// What a connection was served last, and from which generation of the World.
#[derive(Clone)]
pub(super) struct Served {
    pub generation: u64,
    pub translated: Arc<Translated>,
}

/// The translations of the newest World; replicas have one in common.
#[derive(Default)]
pub(super) struct Translations(Mutex<Newest>);

#[derive(Default)]
struct Newest {
    generation: u64,
    by_key: HashMap<ShareKey, Arc<Translated>>,
}

impl Translations {
    /// Two that ask for the same at once may both translate; the results are equal.
    fn of(&self, world: &World, connection: &Connection) -> Arc<Translated> {
        let key = share_key(world, &connection.proxy);
        {
            let mut newest = lock(&self.0);
            if newest.generation < world.generation {
                newest.generation = world.generation;
                newest.by_key.clear();
            }
            if newest.generation == world.generation
                && let Some(known) = newest.by_key.get(&key)
            {
                return known.clone();
            }
        }
        let resources = translate(world, &connection.proxy);
        let translated = Arc::new(Translated {
            sets: resources.encode(),
            issues: resources.issues,
        });
        let mut newest = lock(&self.0);
        if newest.generation == world.generation {
            newest.by_key.insert(key, translated.clone());
        }
        translated
    }
}

/// The connection's resources in the World in force.
pub(super) fn served(state: &State, connection: &Connection) -> Served {
    let mut served = lock(&connection.served);
    let world = state.world();
    if let Some(served) = &*served
        && served.generation >= world.generation
    {
        return served.clone();
    }
    let translate = AssertUnwindSafe(|| state.translations.of(&world, connection));
    let translated = catch_unwind(translate).unwrap_or_else(|_| {
        tracing::error!(
            proxy = connection.proxy.id,
            "the configuration could not be translated for this proxy because of a defect in \
             Meltemi; what it has stays in force. Please report the panic logged above"
        );
        let last = served.as_ref().map(|served| served.translated.clone());
        last.unwrap_or_default()
    });
    let next = Served {
        generation: world.generation,
        translated,
    };
    *served = Some(next.clone());
    next
}

/// What proxies do not get of their configuration, over all that are connected.
pub(super) fn issues(state: &State) -> Vec<Issue> {
    let mut issues = state.world().issues.clone();
    for connection in state.proxies.all() {
        if let Some(served) = &*lock(&connection.served) {
            issues.extend(served.translated.issues.iter().cloned());
        }
    }
    issues.sort();
    issues.dedup();
    issues
}
