//! What a worker keeps of the hosts of a dynamic forward proxy cluster. Which hosts there are,
//! and where, is in the DNS cache that all workers share.

use super::connect::transport_of;
use super::outlier::is_ejected;
use super::pool::EndpointPools;
use super::table::Slot;
use super::{NamedHost, PickError, Picked};
use crate::dns::{DnsCache, host_key};
use crate::model::{Address, CheckTarget, Cluster, ClusterShared, Endpoint, EndpointState, Health};
use crate::worker::millis_since_start;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bound on hosts of a worker and cluster, whatever the cache holds.
const MAX_HOSTS: usize = 16_384;

#[derive(Default)]
pub(super) struct DynamicHosts(RefCell<HashMap<Box<str>, Used>>);

struct Used {
    slot: Slot,
    at: Instant,
}

impl DynamicHosts {
    /// The host of a request or a connection, as the cache knows it now. Its connections
    /// outlive a change of its address.
    pub fn pick(
        &self,
        cluster: &Cluster,
        cache: &DnsCache,
        host: Option<NamedHost<'_>>,
    ) -> Result<Picked, PickError> {
        let key = key(cluster, host)?;
        let address = cache.address(&key).ok_or(PickError::NoHealthyUpstream)?;
        let mut hosts = self.0.borrow_mut();
        if hosts.len() >= MAX_HOSTS && !hosts.contains_key(&key) {
            hosts.retain(|_, used| !used.slot.pools.is_unused());
            if hosts.len() >= MAX_HOSTS {
                return Err(PickError::NoHealthyUpstream);
            }
        }
        let used = match hosts.get_mut(&key) {
            Some(used) => used,
            None => {
                let slot = Slot {
                    endpoint: Arc::new(endpoint(cluster, &key, address, Arc::default())),
                    pools: Rc::new(EndpointPools::new(&cluster.config)),
                };
                let at = Instant::now();
                hosts.entry(key.clone()).or_insert(Used { slot, at })
            }
        };
        used.at = Instant::now();
        let slot = &mut used.slot;
        if slot.endpoint.address != Address::Socket(address) {
            let state = slot.endpoint.state.clone();
            slot.endpoint = Arc::new(endpoint(cluster, &key, address, state));
        }
        if is_ejected(&cluster.shared, &slot.endpoint.state, millis_since_start()) {
            return Err(PickError::NoHealthyUpstream);
        }
        Ok(Picked {
            endpoint: slot.endpoint.clone(),
            priority: 0,
            pools: slot.pools.clone(),
        })
    }

    /// Forgets hosts that were unused for the cache's `host_ttl`, with their idle connections;
    /// time until there is something to do, `None` when there is nothing to watch.
    pub fn sweep(
        &self,
        lifetime: Duration,
        shared: &ClusterShared,
        now: Instant,
    ) -> Option<Duration> {
        let mut hosts = self.0.borrow_mut();
        hosts.retain(|_, used| {
            if now.duration_since(used.at) < lifetime {
                return true;
            }
            used.slot.pools.close();
            // An ejected host that is forgotten must not keep its place in the count.
            is_ejected(shared, &used.slot.endpoint.state, u64::MAX);
            false
        });
        let next = |used: &Used| used.slot.pools.sweep(now).unwrap_or(lifetime);
        hosts.values().map(next).min()
    }

    pub fn close(&self) {
        for used in self.0.borrow().values() {
            used.slot.pools.close();
        }
    }
}

/// Waits until the cache knows the host's address, where no filter has done so before.
pub(super) async fn resolve(
    cluster: &Cluster,
    cache: &Arc<DnsCache>,
    host: Option<NamedHost<'_>>,
) -> Result<(), PickError> {
    let key = key(cluster, host)?;
    cache.resolve(&key).await.map_err(PickError::Unresolved)
}

fn key(cluster: &Cluster, host: Option<NamedHost<'_>>) -> Result<Box<str>, PickError> {
    let host = host
        .filter(|host| !host.name.is_empty())
        .ok_or(PickError::NoHost)?;
    let port = host.port.unwrap_or_else(|| default_port(cluster));
    Ok(host_key(host.name, port))
}

/// The port of hosts that come without: that of their scheme.
pub(crate) fn default_port(cluster: &Cluster) -> u16 {
    let transport = transport_of(&cluster.config, cluster.config.transport.index(&[]));
    match transport.tls() {
        Some(_) => 443,
        None => 80,
    }
}

fn endpoint(
    cluster: &Cluster,
    key: &str,
    address: SocketAddr,
    state: Arc<EndpointState>,
) -> Endpoint {
    Endpoint {
        address: Address::Socket(address),
        hostname: key.into(),
        weight: 1,
        health: Health::Healthy,
        transport_match: Vec::new(),
        transport: cluster.config.transport.index(&[]),
        lb_metadata: Vec::new(),
        check: CheckTarget::default(),
        workload: None,
        state,
    }
}
