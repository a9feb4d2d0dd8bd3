//! Virtual hosts that come apart from their route tables: VHDS.

use super::record::{Kind, State as RecordState};
use super::routes::RouteEntry;
use super::state::{Incoming, Stage, State};
use crate::compile::{Conflict, Cx, Error, Notice, RouteFrame, pb};
use crate::model::{RouteTable, VirtualHost};
use meltemi_xds::namespace;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::Instant;

/// The virtual hosts of one table.
pub struct Discovered {
    frame: RouteFrame,
    /// In force or, while the first are waited for, about to be. By the resource's name.
    hosts: BTreeMap<Arc<str>, Host>,
    /// What the update under way changes; `None` removes.
    staged: BTreeMap<Arc<str>, Option<Staged>>,
    /// Whether the first are waited for.
    stage: Stage,
    /// The update under way has told of the table.
    answered: bool,
}

struct Host {
    hash: u64,
    host: Arc<VirtualHost>,
}

struct Staged {
    host: Arc<VirtualHost>,
    incoming: Incoming,
    notices: Vec<Notice>,
}

/// A resource's name and why it is refused.
type Refusal = (Incoming, Error);

impl Discovered {
    fn new(frame: RouteFrame) -> Self {
        Self {
            stage: Stage::new(frame.discovery),
            frame,
            hosts: BTreeMap::new(),
            staged: BTreeMap::new(),
            answered: false,
        }
    }

    /// The resources' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(|name| &**name)
    }

    /// When the first virtual hosts are no longer waited for.
    pub fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waiting(deadline) => deadline,
            Stage::Done => None,
        }
    }

    /// The table without virtual hosts of others, once these were waited for in vain.
    pub fn give_up(&mut self, now: Instant) -> Option<RouteTable> {
        if !self.stage.expired(now) {
            return None;
        }
        self.stage = Stage::Done;
        self.frame.table([]).ok()
    }

    fn table(&self) -> Result<RouteTable, Conflict> {
        self.frame.table(self.hosts.values().map(|host| &host.host))
    }

    /// The table after the staged changes, if only hosts change and none of their domains.
    fn replaced(&self, former: &RouteTable) -> Option<RouteTable> {
        let mut hosts = former.hosts.clone();
        for (name, staged) in &self.staged {
            let staged = staged.as_ref()?;
            let discovered = self.hosts.keys().position(|known| known == name)?;
            let host = hosts.get_mut(self.frame.own_hosts() + discovered)?;
            if host.domains != staged.host.domains {
                return None;
            }
            *host = staged.host.clone();
        }
        Some(RouteTable {
            hosts,
            ..former.clone()
        })
    }

    /// The table after the staged changes, without those that take a domain of another host.
    fn merged(&mut self, refused: &mut Vec<Refusal>) -> Option<RouteTable> {
        loop {
            let kept = self.hosts.iter();
            let kept = kept.filter(|(name, _)| !self.staged.contains_key(*name));
            let staged = self.staged.iter();
            let staged = staged.filter_map(|(name, staged)| Some((name, &staged.as_ref()?.host)));
            let all: BTreeMap<_, _> = kept
                .map(|(name, host)| (name, &host.host))
                .chain(staged)
                .collect();
            let conflict = match self.frame.table(all.values().copied()) {
                Ok(table) => return Some(table),
                Err(conflict) => conflict,
            };
            let names: Vec<&Arc<str>> = all.keys().copied().collect();
            // What was in force had no conflict: one of the two is new.
            let culprit = conflict.hosts.iter().rev().find_map(|position| {
                let name = names.get(position.checked_sub(self.frame.own_hosts())?)?;
                self.staged.contains_key(*name).then(|| (*name).clone())
            })?;
            if let Some(staged) = self.staged.remove(&culprit).flatten() {
                refused.push((staged.incoming, conflict.into()));
            }
        }
    }
}

impl RouteEntry {
    /// Puts the update's virtual hosts into force.
    fn settle_hosts(&mut self, refused: &mut Vec<Refusal>) -> BTreeMap<Arc<str>, Option<Staged>> {
        let Some(discovered) = &mut self.discovered else {
            return BTreeMap::new();
        };
        if !std::mem::take(&mut discovered.answered) {
            return BTreeMap::new();
        }
        let former = self.table.as_ref();
        let former = former.filter(|_| matches!(discovered.stage, Stage::Done));
        let table = former
            .and_then(|former| discovered.replaced(former))
            .or_else(|| discovered.merged(refused));
        discovered.stage = Stage::Done;
        let taken = std::mem::take(&mut discovered.staged);
        for (name, staged) in &taken {
            match staged {
                Some(staged) => {
                    let host = Host {
                        hash: staged.incoming.hash,
                        host: staged.host.clone(),
                    };
                    discovered.hosts.insert(name.clone(), host);
                }
                None => {
                    discovered.hosts.remove(name);
                }
            }
        }
        self.table = table.map(Arc::new).or_else(|| self.table.take());
        taken
    }
}

impl State {
    /// What becomes of a table with a new frame: the virtual hosts that it has stay, on what
    /// they inherit now. No table while the first are waited for.
    ///
    /// # Errors
    /// When the frame cannot go with them.
    pub(super) fn discovery(
        &mut self,
        name: &Arc<str>,
        frame: RouteFrame,
    ) -> Result<(Option<RouteTable>, Option<Discovered>), Error> {
        if frame.discovery.is_none() {
            return Ok((Some(frame.table([])?), None));
        }
        let mut discovered = Discovered::new(frame);
        let former = self.routes.get(name);
        let Some(former) = former.and_then(|entry| entry.discovered.as_ref()) else {
            return Ok((None, Some(discovered)));
        };
        discovered.stage = former.stage;
        let records = self.shared.records();
        for (name, host) in &former.hosts {
            let Some(record) = records.get(Kind::VirtualHost, name) else {
                continue;
            };
            let message = virtual_host(&record.body)?;
            let compiled = discovered
                .frame
                .virtual_host(message, &mut Cx::new(&mut self.names))?;
            let host = Host {
                hash: host.hash,
                host: Arc::new(compiled),
            };
            discovered.hosts.insert(name.clone(), host);
        }
        let table = match discovered.stage {
            Stage::Done => Some(discovered.table()?),
            Stage::Waiting(_) => None,
        };
        Ok((table, Some(discovered)))
    }

    /// The table whose name is the first part of the virtual host's.
    fn table_of(&mut self, host: &str) -> Option<&mut Discovered> {
        let entry = self.routes.get_mut(namespace(host)?)?;
        entry.discovered.as_mut()
    }

    /// Takes a virtual host in; [`Self::settle_virtual_hosts`] puts it into force.
    ///
    /// # Errors
    /// When it cannot be honoured; the former one stays in force.
    pub fn apply_virtual_host(&mut self, incoming: &Incoming) -> Result<(), Error> {
        let name = &incoming.name;
        let table = namespace(name).and_then(|table| self.routes.get_mut(table));
        let Some(discovered) = table.and_then(|entry| entry.discovered.as_mut()) else {
            return Err(Error::new(
                "no route table of this name discovers virtual hosts",
            ));
        };
        discovered.answered = true;
        let known = discovered.hosts.get(name);
        if known.is_some_and(|host| host.hash == incoming.hash) {
            let mut records = self.shared.records();
            records.renew(Kind::VirtualHost, name, &incoming.version);
            return Ok(());
        }
        let message = virtual_host(&incoming.body)?;
        let mut cx = Cx::new(&mut self.names);
        let host = discovered.frame.virtual_host(message, &mut cx)?;
        let (_, notices) = cx.finish();
        let staged = Staged {
            host: Arc::new(host),
            incoming: incoming.clone(),
            notices,
        };
        discovered.staged.insert(name.clone(), Some(staged));
        Ok(())
    }

    /// Takes a virtual host away, or learns that a table of that name has none.
    pub fn remove_virtual_host(&mut self, name: &str) {
        let known = self
            .table_of(name)
            .filter(|discovered| discovered.hosts.contains_key(name));
        if let Some(discovered) = known {
            discovered.answered = true;
            discovered.staged.insert(name.into(), None);
            return;
        }
        let table = self.routes.get_mut(name);
        if let Some(discovered) = table.and_then(|entry| entry.discovered.as_mut()) {
            discovered.answered = true;
        }
    }

    /// Puts an update's virtual hosts into force, all at once; returns those that cannot be.
    pub fn settle_virtual_hosts(&mut self) -> Vec<(Arc<str>, Error)> {
        let mut refused = Vec::new();
        let mut taken = BTreeMap::new();
        for entry in self.routes.values_mut() {
            let table = entry.table.clone();
            taken.append(&mut entry.settle_hosts(&mut refused));
            self.dirty.routes |= match (&table, &entry.table) {
                (Some(former), Some(now)) => !Arc::ptr_eq(former, now),
                (former, now) => former.is_some() != now.is_some(),
            };
        }
        for (name, staged) in taken {
            match staged {
                Some(Staged {
                    incoming, notices, ..
                }) => self.accept(Kind::VirtualHost, &incoming, RecordState::Active, notices),
                None => self.shared.records().remove(Kind::VirtualHost, &name),
            }
        }
        let refusal = |(incoming, error): Refusal| {
            self.refuse(Kind::VirtualHost, &incoming.name, &incoming.version, &error);
            (incoming.name, error)
        };
        refused.into_iter().map(refusal).collect()
    }

    /// The tables whose virtual hosts are wanted.
    pub fn wanted_virtual_hosts(&self) -> BTreeSet<String> {
        let discover = |entry: &RouteEntry| entry.discovered.is_some();
        self.routes
            .iter()
            .filter(|(_, entry)| discover(entry))
            .map(|(name, _)| name.to_string())
            .collect()
    }
}

fn virtual_host(body: &[u8]) -> Result<pb::route::VirtualHost, Error> {
    pb::route::VirtualHost::decode(body).map_err(|error| Error::new(format!("malformed: {error}")))
}
