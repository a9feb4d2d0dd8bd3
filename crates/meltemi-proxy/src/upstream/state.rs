//! What a worker keeps of one cluster between requests.

use super::dynamic::DynamicHosts;
use super::pool::EndpointPools;
use super::table::{Slot, Table};
use super::{PickContext, PickError, Picked};
use crate::model::{
    Address, CheckTarget, Cluster, ClusterConfig, ClusterShared, Discovery, Endpoint,
    EndpointState, Health,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An ORIGINAL_DST endpoint unused for this long is forgotten (Envoy's cleanup interval).
const ORIGINAL_LIFETIME: Duration = Duration::from_secs(5);
/// Bound on remembered ORIGINAL_DST endpoints a worker and cluster.
const MAX_ORIGINALS: usize = 16_384;

pub(super) struct ClusterState {
    pub config: Arc<ClusterConfig>,
    table: RefCell<Rc<Table>>,
    originals: RefCell<HashMap<SocketAddr, (Slot, Instant)>>,
    hosts: DynamicHosts,
    shared: Arc<ClusterShared>,
}

impl ClusterState {
    pub fn new(cluster: &Cluster) -> Self {
        Self {
            config: cluster.config.clone(),
            table: RefCell::new(Rc::new(Table::empty())),
            originals: RefCell::default(),
            hosts: DynamicHosts::default(),
            shared: cluster.shared.clone(),
        }
    }

    pub fn pick(&self, cluster: &Cluster, context: &PickContext<'_>) -> Result<Picked, PickError> {
        match &self.config.discovery {
            Discovery::OriginalDst { port_override, .. } => {
                return self.original(context.original_destination, *port_override);
            }
            Discovery::DynamicForward(cache) => {
                return self.hosts.pick(cluster, cache, context.host);
            }
            _ => {}
        }
        let dropped = cluster.endpoints.drop_per_million;
        if dropped > 0 && fastrand::u32(..1_000_000) < dropped {
            return Err(PickError::Dropped);
        }
        self.table(cluster).pick(cluster, context)
    }

    fn table(&self, cluster: &Cluster) -> Rc<Table> {
        let table = self.table.borrow().clone();
        if table.is_current(cluster) {
            return table;
        }
        let fresh = Rc::new(table.rebuild(cluster));
        self.table.replace(fresh.clone());
        fresh
    }

    fn original(
        &self,
        destination: Option<SocketAddr>,
        port: Option<u16>,
    ) -> Result<Picked, PickError> {
        let mut address = destination.ok_or(PickError::NoDestination)?;
        if let Some(port) = port {
            address.set_port(port);
        }
        let mut originals = self.originals.borrow_mut();
        if originals.len() >= MAX_ORIGINALS && !originals.contains_key(&address) {
            originals.retain(|_, (slot, _)| !slot.pools.is_unused());
            if originals.len() >= MAX_ORIGINALS {
                return Err(PickError::NoHealthyUpstream);
            }
        }
        let (slot, used) = originals.entry(address).or_insert_with(|| {
            let endpoint = Endpoint {
                lb_metadata: Vec::new(),
                check: CheckTarget::default(),
                address: Address::Socket(address),
                hostname: "".into(),
                weight: 1,
                health: Health::Healthy,
                transport_match: Vec::new(),
                transport: None,
                workload: None,
                state: Arc::new(EndpointState::default()),
            };
            let slot = Slot {
                endpoint: Arc::new(endpoint),
                pools: Rc::new(EndpointPools::new(&self.config)),
            };
            (slot, Instant::now())
        });
        *used = Instant::now();
        Ok(Picked {
            endpoint: slot.endpoint.clone(),
            priority: 0,
            pools: slot.pools.clone(),
        })
    }

    /// Closes idle connections that are due; time until the next one is, `None` when there
    /// is nothing to watch.
    pub fn sweep(&self) -> Option<Duration> {
        let now = Instant::now();
        self.originals.borrow_mut().retain(|_, (slot, used)| {
            now.duration_since(*used) < ORIGINAL_LIFETIME || !slot.pools.is_unused()
        });
        let table = self.table.borrow().clone();
        let pooled = table.slots().filter_map(|slot| slot.pools.sweep(now)).min();
        let originals = self.originals.borrow();
        let originals = originals
            .values()
            .map(|(slot, _)| slot.pools.sweep(now).unwrap_or(ORIGINAL_LIFETIME))
            .min();
        let hosts = match &self.config.discovery {
            Discovery::DynamicForward(cache) => {
                let lifetime = cache.settings().host_ttl;
                self.hosts.sweep(lifetime, &self.shared, now)
            }
            _ => None,
        };
        pooled.into_iter().chain(originals).chain(hosts).min()
    }

    pub fn close(&self) {
        let table = self.table.borrow().clone();
        for slot in table.slots() {
            slot.pools.close();
        }
        for (slot, _) in self.originals.borrow().values() {
            slot.pools.close();
        }
        self.hosts.close();
    }
}
