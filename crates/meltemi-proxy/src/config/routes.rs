//! Route tables: RDS.

use super::record::{Kind, State as RecordState};
use super::state::{Incoming, State};
use super::virtual_hosts::Discovered;
use crate::compile::{Cx, Error, RouteFrame, pb};
use crate::model::{RouteTable, RouteTableId};
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;

/// A route table that was asked for.
pub struct RouteEntry {
    pub id: RouteTableId,
    hash: Option<u64>,
    /// `None` when only refused versions came, the control plane knows no such table, or its
    /// first virtual hosts are not discovered yet.
    pub table: Option<Arc<RouteTable>>,
    /// Set where its virtual hosts come apart from it.
    pub discovered: Option<Discovered>,
}

impl RouteEntry {
    /// When it is put into force without virtual hosts that did not come. One that replaces
    /// another waits without end, as the other is in force.
    pub fn deadline(&self) -> Option<Instant> {
        let discovered = self.discovered.as_ref().filter(|_| !self.is_settled());
        discovered.and_then(Discovered::deadline)
    }

    /// Whether listeners need wait for it no longer.
    pub fn is_settled(&self) -> bool {
        self.table.is_some() || self.discovered.is_none()
    }
}

impl State {
    /// Takes a route table in.
    ///
    /// # Errors
    /// When it cannot be honoured; the former one stays in force.
    pub fn apply_route(&mut self, incoming: &Incoming) -> Result<(), Error> {
        let name = &incoming.name;
        let known = self.routes.get(name);
        if known.is_some_and(|entry| entry.hash == Some(incoming.hash)) {
            let mut records = self.shared.records();
            records.renew(Kind::Route, name, &incoming.version);
            return Ok(());
        }
        let message = pb::route::RouteConfiguration::decode(incoming.body.clone())
            .map_err(|error| Error::new(format!("malformed: {error}")))?;
        let mut cx = Cx::new(&mut self.names);
        let frame = RouteFrame::compile(message, &mut cx)?;
        let (_, notices) = cx.finish();
        let (table, discovered) = self.discovery(name, frame)?;
        let id = self.names.route_table(name);
        let entry = self.routes.entry(name.clone());
        let entry = entry.or_insert_with(|| RouteEntry::new(id));
        entry.hash = Some(incoming.hash);
        // One that waits for its virtual hosts leaves the former one in force.
        entry.table = table.map(Arc::new).or_else(|| entry.table.take());
        self.references_changed |= entry.discovered.is_some() != discovered.is_some();
        entry.discovered = discovered;
        self.dirty.routes = true;
        self.accept(Kind::Route, incoming, RecordState::Active, notices);
        Ok(())
    }

    /// The first version was refused, or the control plane knows no such table: listeners
    /// no longer wait for it. A table in force stays.
    pub fn route_missing(&mut self, name: &Arc<str>) {
        let id = self.names.route_table(name);
        let entry = self.routes.entry(name.clone());
        entry.or_insert_with(|| RouteEntry::new(id));
    }

    /// All tables that listeners want.
    pub fn wanted_routes(&self) -> BTreeSet<String> {
        self.listeners
            .values()
            .flat_map(|entry| entry.references())
            .flat_map(|references| &references.routes)
            .map(|route| route.name.to_string())
            .collect()
    }

    /// Forgets tables that no listener wants any more.
    pub fn forget_routes(&mut self, wanted: &BTreeSet<String>) {
        let mut records = self.shared.records();
        let before = self.routes.len();
        self.routes.retain(|name, entry| {
            let keep = wanted.contains(&**name);
            if !keep {
                records.remove(Kind::Route, name);
                let hosts = entry.discovered.iter().flat_map(Discovered::names);
                hosts.for_each(|host| records.remove(Kind::VirtualHost, host));
            }
            keep
        });
        self.dirty.routes |= self.routes.len() != before;
    }

    /// Puts tables into force whose virtual hosts have been waited for long enough.
    pub fn settle_routes(&mut self) {
        let now = Instant::now();
        for entry in self.routes.values_mut().filter(|entry| !entry.is_settled()) {
            let discovered = entry.discovered.as_mut();
            if let Some(table) = discovered.and_then(|discovered| discovered.give_up(now)) {
                entry.table = Some(Arc::new(table));
                self.dirty.routes = true;
            }
        }
    }
}

impl RouteEntry {
    fn new(id: RouteTableId) -> Self {
        Self {
            id,
            hash: None,
            table: None,
            discovered: None,
        }
    }
}
