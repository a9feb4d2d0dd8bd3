//! Route tables: RDS.

use super::record::{Kind, State as RecordState};
use super::state::{Incoming, State};
use crate::compile::{self, Cx, Error, pb};
use crate::model::{RouteTable, RouteTableId};
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A route table that was asked for.
pub struct RouteEntry {
    pub id: RouteTableId,
    /// `None` when only refused versions came, or the control plane knows no such table.
    pub table: Option<Arc<RouteTable>>,
}

impl State {
    /// Takes a route table in.
    ///
    /// # Errors
    /// When it cannot be honoured; the former one stays in force.
    pub fn apply_route(&mut self, incoming: &Incoming) -> Result<(), Error> {
        let known = self
            .routes
            .get(&incoming.name)
            .and_then(|entry| entry.table.as_ref());
        if known.is_some_and(|table| table.hash == incoming.hash) {
            self.shared
                .records()
                .renew(Kind::Route, &incoming.name, &incoming.version);
            return Ok(());
        }
        let message = pb::route::RouteConfiguration::decode(incoming.body.clone())
            .map_err(|error| Error::new(format!("malformed: {error}")))?;
        let mut cx = Cx::new(&mut self.names);
        let table = compile::route_table(message, incoming.hash, &mut cx)?;
        let (_, notices) = cx.finish();
        let id = self.names.route_table(&incoming.name);
        self.routes.insert(
            incoming.name.clone(),
            RouteEntry {
                id,
                table: Some(Arc::new(table)),
            },
        );
        self.dirty.routes = true;
        self.accept(Kind::Route, incoming, RecordState::Active, notices);
        Ok(())
    }

    /// The first version was refused, or the control plane knows no such table: listeners
    /// no longer wait for it. A table in force stays.
    pub fn route_missing(&mut self, name: &Arc<str>) {
        let id = self.names.route_table(name);
        self.routes
            .entry(name.clone())
            .or_insert(RouteEntry { id, table: None });
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
        self.routes.retain(|name, _| {
            let keep = wanted.contains(&**name);
            if !keep {
                records.remove(Kind::Route, name);
            }
            keep
        });
        self.dirty.routes |= self.routes.len() != before;
    }
}
