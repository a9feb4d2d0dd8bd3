//! Listeners: LDS.

use super::record::{Kind, State as RecordState};
use super::routes::RouteEntry;
use super::state::{Incoming, State, deadline};
use crate::compile::{self, At, Cx, Error, References, pb};
use crate::model::Listener;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Bound on waiting for secrets, also where the configuration sets none: chains whose
/// secrets are there must not wait for those whose secrets never come.
const SECRETS_TIMEOUT: Duration = super::INITIAL_FETCH_TIMEOUT;

/// A listener's name: what is in force, and what is being warmed to replace it.
#[derive(Default)]
pub struct ListenerEntry {
    pub fixed: bool,
    hash: u64,
    active: Option<Active>,
    warming: Option<Warming>,
}

struct Active {
    listener: Arc<Listener>,
    references: References,
}

struct Warming {
    listener: Arc<Listener>,
    references: References,
    /// When missing route tables, and missing secrets, are given up.
    routes_until: Option<Instant>,
    secrets_until: Option<Instant>,
}

impl ListenerEntry {
    pub fn active(&self) -> Option<&Arc<Listener>> {
        self.active.as_ref().map(|active| &active.listener)
    }

    pub fn is_warming(&self) -> bool {
        self.warming.is_some()
    }

    pub fn deadline(&self) -> Option<Instant> {
        let warming = self.warming.as_ref()?;
        let now = Instant::now();
        // One that has passed without effect must not be waited for again.
        [warming.routes_until, warming.secrets_until]
            .into_iter()
            .flatten()
            .filter(|deadline| *deadline > now)
            .min()
    }

    /// Everything it refers to, now or when it is warm.
    pub fn references(&self) -> impl Iterator<Item = &References> {
        let active = self.active.as_ref().map(|active| &active.references);
        let warming = self.warming.as_ref().map(|warming| &warming.references);
        active.into_iter().chain(warming)
    }
}

impl State {
    /// Takes a listener in. An equal one changes nothing but its version.
    ///
    /// # Errors
    /// When it cannot be honoured; the former one stays in force.
    pub fn apply_listener(&mut self, incoming: &Incoming) -> Result<(), Error> {
        self.unbound.forget(&incoming.name);
        if let Some(entry) = self.listeners.get(&incoming.name) {
            if entry.fixed && !incoming.fixed {
                return Err(Error::new("has the name of a static listener"));
            }
            if entry.hash == incoming.hash && (entry.active.is_some() || entry.warming.is_some()) {
                self.shared
                    .records()
                    .renew(Kind::Listener, &incoming.name, &incoming.version);
                return Ok(());
            }
        }
        let message = pb::listener::Listener::decode(incoming.body.clone())
            .map_err(|error| Error::new(format!("malformed: {error}")))?;
        let mut cx = Cx::new(&mut self.names);
        let listener = compile::listener(message, incoming.hash, &mut cx)?;
        let (references, notices) = cx.finish();
        self.check_addresses(&incoming.name, &listener)?;
        self.check_sockets(incoming, &listener)?;
        self.secrets.register(&references).at("filter_chains")?;
        // One that waits for ever makes the whole wait for ever.
        let routes_until = references
            .routes
            .iter()
            .map(|route| deadline(route.fetch_timeout))
            .try_fold(Instant::now(), |latest, until| Some(latest.max(until?)));
        let entry = self.listeners.entry(incoming.name.clone()).or_default();
        let is_new = entry.active.is_none() && entry.warming.is_none();
        self.counters.listeners.taken(is_new);
        entry.fixed = incoming.fixed;
        entry.hash = incoming.hash;
        entry.warming = Some(Warming {
            listener: Arc::new(listener),
            references,
            routes_until,
            secrets_until: deadline(SECRETS_TIMEOUT),
        });
        self.references_changed = true;
        self.accept(Kind::Listener, incoming, RecordState::Warming, notices);
        Ok(())
    }

    /// Two bound listeners cannot have one address (Envoy refuses the second as well).
    fn check_addresses(&self, name: &Arc<str>, listener: &Listener) -> Result<(), Error> {
        for (other_name, entry) in &self.listeners {
            if other_name == name {
                continue;
            }
            let others = [
                entry.active.as_ref().map(|active| &active.listener),
                entry.warming.as_ref().map(|warming| &warming.listener),
            ];
            for other in others.into_iter().flatten() {
                if let Some(address) = listener
                    .addresses
                    .iter()
                    .find(|address| other.addresses.contains(address))
                {
                    return Err(Error::new(format!(
                        "{address} is the address of listener {other_name:?}"
                    ))
                    .at_field("address"));
                }
            }
        }
        Ok(())
    }

    pub fn remove_listener(&mut self, name: &str) {
        self.unbound.forget(name);
        if self.listeners.get(name).is_none_or(|entry| !entry.fixed) {
            if self.listeners.remove(name).is_some() {
                self.counters.listeners.removed.inc();
            }
            self.shared.records().remove(Kind::Listener, name);
            self.dirty.listeners = true;
            self.references_changed = true;
        }
    }

    /// Puts listeners into force that have what they need, or have waited long enough.
    pub fn settle_listeners(&mut self) {
        let now = Instant::now();
        for (name, entry) in &mut self.listeners {
            let Some(warming) = &entry.warming else {
                continue;
            };
            let past = |until: Option<Instant>| until.is_some_and(|deadline| deadline <= now);
            let routes = warming.references.routes.iter().all(|route| {
                let entry = self.routes.get(&*route.name);
                entry.is_some_and(RouteEntry::is_settled)
            });
            let secrets = warming
                .references
                .secrets
                .iter()
                .all(|secret| self.secrets.has(&secret.name));
            if !(routes || past(warming.routes_until)) || !(secrets || past(warming.secrets_until))
            {
                continue;
            }
            if !secrets {
                tracing::warn!(listener = %name, "in force without all of its secrets: their chains refuse handshakes");
            }
            if let Some(warming) = entry.warming.take() {
                entry.active = Some(Active {
                    listener: warming.listener,
                    references: warming.references,
                });
                self.dirty.listeners = true;
                self.references_changed = true;
                self.counters.listener_create_success.inc();
                self.shared
                    .records()
                    .set_state(Kind::Listener, name, RecordState::Active);
            }
        }
    }
}
