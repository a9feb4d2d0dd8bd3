//! What the parts of a control plane share: the World in force and the proxies connected.

use super::Options;
use super::lock::lock;
use super::proxies::{Connection, Proxies};
use super::standing::Ages;
use super::translations::{Served, Translations};
use crate::issue::Issue;
use crate::world::{World, WorldOptions};
use meltemi_analysis::while_running;
use meltemi_config::{ConfigError, Published};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use tokio::sync::{Notify, watch};

pub(super) struct State {
    pub options: WorldOptions,
    pub admin_dir: Option<PathBuf>,
    pub started: Instant,
    pub proxies: Proxies,
    pub translations: Translations,
    current: Mutex<Current>,
    generation: watch::Sender<u64>,
    changed: Arc<Notify>,
}

/// The World in force and the configuration it was built from.
#[derive(Clone)]
pub(super) struct Current {
    pub world: Arc<World>,
    pub published: Arc<Published>,
    /// Since when.
    pub since: Instant,
    pub ages: Ages,
    findings: Arc<OnceLock<Vec<ConfigError>>>,
}

impl Current {
    pub fn new(world: World, published: &Arc<Published>, before: &Ages) -> Self {
        Self {
            ages: before.next(objects(published), world.generation),
            world: Arc::new(world),
            since: Instant::now(),
            published: published.clone(),
            findings: Arc::default(),
        }
    }

    /// What only all objects together show, such as a host that no service has. Looked for when
    /// somebody asks, so that no push waits for it.
    pub fn findings(&self) -> &[ConfigError] {
        self.findings
            .get_or_init(|| while_running(&self.published.objects))
    }
}

impl State {
    pub fn new(first: &Arc<Published>, options: WorldOptions, process: &Options) -> Self {
        let world = World::build(objects(first), &options, 1);
        let changed = Arc::new(Notify::new());
        Self {
            options,
            admin_dir: process.admin_dir.clone(),
            started: Instant::now(),
            proxies: Proxies::new(changed.clone()),
            changed,
            translations: Translations::default(),
            current: Mutex::new(Current::new(world, first, &Ages::default())),
            generation: watch::Sender::new(1),
        }
    }

    pub fn current(&self) -> Current {
        lock(&self.current).clone()
    }

    /// What is in force, with its findings looked for off the runtime's thread.
    pub async fn examined(&self) -> Current {
        let current = self.current();
        let examined = current.clone();
        // Whoever asks for them looks itself where this fails.
        let _ = tokio::task::spawn_blocking(move || _ = examined.findings()).await;
        current
    }

    pub fn world(&self) -> Arc<World> {
        lock(&self.current).world.clone()
    }

    /// Puts a newer World in force and tells every stream.
    pub fn publish(&self, current: Current) {
        let generation = current.world.generation;
        *lock(&self.current) = current;
        self.generation.send_replace(generation);
        self.changed.notify_one();
    }

    /// New findings about the configuration that change nothing for proxies.
    pub fn annotate(&self, published: Arc<Published>) {
        lock(&self.current).published = published;
        self.changed.notify_one();
    }

    /// Waits until the configuration, or how far a proxy is, has changed since the last wait; for
    /// one waiter.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    pub fn watch(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// The connection's resources in the World in force.
    pub fn served(&self, connection: &Connection) -> Served {
        let mut served = lock(&connection.served);
        let world = self.world();
        if let Some(served) = &*served
            && served.generation >= world.generation
        {
            return served.clone();
        }
        let translate = AssertUnwindSafe(|| self.translations.of(&world, &connection.proxy));
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
    pub fn issues(&self) -> Vec<Issue> {
        let world = self.world();
        let served = |connection: Arc<Connection>| lock(&connection.served).clone();
        let served: Vec<Served> = self.proxies.all().into_iter().filter_map(served).collect();
        let translated = served.iter().flat_map(|served| &served.translated.issues);
        // Most proxies have the same ones.
        let all: BTreeSet<&Issue> = world.issues.iter().chain(translated).collect();
        all.into_iter().cloned().collect()
    }
}

pub(super) fn objects(published: &Published) -> impl Iterator<Item = &meltemi_api::Object> + Clone {
    published.objects.iter().map(|object| &**object)
}
