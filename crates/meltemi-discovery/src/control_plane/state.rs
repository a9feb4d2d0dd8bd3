//! What the parts of a control plane share: the World in force and the proxies connected.

use super::Options;
use super::proxies::Proxies;
use super::translations::Translations;
use crate::world::{World, WorldOptions};
use meltemi_analysis::while_running;
use meltemi_config::{ConfigError, Published};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

pub(super) struct State {
    pub options: WorldOptions,
    pub admin_dir: Option<PathBuf>,
    pub started: Instant,
    pub proxies: Proxies,
    pub translations: Translations,
    current: Mutex<Current>,
    generation: watch::Sender<u64>,
}

/// The World in force and the configuration it was built from.
#[derive(Clone)]
pub(super) struct Current {
    pub world: Arc<World>,
    pub published: Arc<Published>,
    /// Since when.
    pub since: Instant,
    /// What only all objects together show, such as a host that no service has.
    pub findings: Arc<[ConfigError]>,
}

impl State {
    pub fn new(first: &Arc<Published>, options: WorldOptions, process: &Options) -> Self {
        let world = Arc::new(World::build(objects(first), &options, 1));
        Self {
            options,
            admin_dir: process.admin_dir.clone(),
            started: Instant::now(),
            proxies: Proxies::default(),
            translations: Translations::default(),
            current: Mutex::new(Current {
                world,
                since: Instant::now(),
                published: first.clone(),
                findings: while_running(&first.objects).into(),
            }),
            generation: watch::Sender::new(1),
        }
    }

    pub fn current(&self) -> Current {
        self.lock().clone()
    }

    pub fn world(&self) -> Arc<World> {
        self.lock().world.clone()
    }

    /// Puts a newer World in force and tells every stream.
    pub fn publish(&self, current: Current) {
        let generation = current.world.generation;
        *self.lock() = current;
        self.generation.send_replace(generation);
    }

    /// New findings about the configuration that change nothing for proxies.
    pub fn annotate(&self, published: Arc<Published>) {
        self.lock().published = published;
    }

    pub fn watch(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn objects(published: &Published) -> impl Iterator<Item = &meltemi_api::Object> + Clone {
    published.objects.iter().map(|object| &**object)
}
