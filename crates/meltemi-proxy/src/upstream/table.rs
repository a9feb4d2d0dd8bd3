//! What a worker balances over: the endpoints of a cluster that may be used now, by
//! priority, health and locality, each with its pools. Rebuilt when endpoints or
//! ejections change, never by a request as such.

use super::balance::Group;
use super::hashing;
use super::load::{Among, Census, Loads};
use super::outlier::is_ejected;
use super::pool::EndpointPools;
use super::{PickContext, PickError, Picked};
use crate::model::{
    CheckResult, Cluster, Endpoint, EndpointSet, EndpointState, Health, SubsetChoice,
};
use crate::worker::millis_since_start as now_ms;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(super) struct Slot {
    pub endpoint: Arc<Endpoint>,
    pub pools: Rc<EndpointPools>,
}

pub(super) struct Table {
    set: Arc<EndpointSet>,
    epoch: u64,
    /// When an ejection ends; `u64::MAX` while there is none.
    recheck_at: u64,
    levels: Vec<Level>,
    loads: Loads,
    /// Of subsets that were asked for, by their set; their pools are these.
    parts: RefCell<HashMap<*const EndpointSet, Rc<Table>>>,
}

type Pools = HashMap<*const EndpointState, Rc<EndpointPools>>;

struct Level {
    slots: Vec<Slot>,
    healthy: Group,
    degraded: Group,
    all: Group,
    /// Healthy endpoints by locality, with the locality's effective weight; empty unless
    /// the cluster weighs localities.
    localities: Vec<(u64, Group)>,
}

impl Table {
    pub fn empty() -> Self {
        Self {
            set: Arc::default(),
            epoch: u64::MAX,
            recheck_at: 0,
            levels: Vec::new(),
            loads: Loads::default(),
            parts: RefCell::default(),
        }
    }

    pub fn is_current(&self, cluster: &Cluster) -> bool {
        Arc::ptr_eq(&self.set, &cluster.endpoints)
            && self.epoch == cluster.shared.health_epoch.load(Ordering::Acquire)
            && (self.recheck_at == u64::MAX || now_ms() < self.recheck_at)
    }

    /// Builds the table for the cluster as it is now, with the pools of endpoints that stay.
    /// Pools of endpoints that went away are closed.
    pub fn rebuild(&self, cluster: &Cluster) -> Self {
        let mut pools = self.pools();
        let old: Vec<_> = pools.keys().copied().collect();
        let fresh = Self::build(cluster, &cluster.endpoints, &mut pools);
        let kept: HashSet<*const EndpointState> = fresh
            .slots()
            .map(|slot| Arc::as_ptr(&slot.endpoint.state))
            .collect();
        for state in old {
            if !kept.contains(&state)
                && let Some(gone) = pools.remove(&state)
            {
                gone.close();
            }
        }
        for slot in self.slots() {
            if !kept.contains(&Arc::as_ptr(&slot.endpoint.state)) {
                // An ejected endpoint that left must not keep its place in the count.
                is_ejected(&cluster.shared, &slot.endpoint.state, u64::MAX);
            }
        }
        fresh
    }

    fn pools(&self) -> Pools {
        self.slots()
            .map(|slot| (Arc::as_ptr(&slot.endpoint.state), slot.pools.clone()))
            .collect()
    }

    /// The table of a set, with the pools that are there already.
    fn build(cluster: &Cluster, set: &Arc<EndpointSet>, pools: &mut Pools) -> Self {
        let now = now_ms();
        let mut recheck_at = u64::MAX;
        let mut levels = Vec::with_capacity(set.priorities.len());
        let mut census = Vec::with_capacity(levels.capacity());
        for priority in &set.priorities {
            let mut healthy = Vec::new();
            let mut degraded = Vec::new();
            let slots: Vec<Slot> = priority
                .endpoints
                .iter()
                .enumerate()
                .map(|(index, endpoint)| {
                    let state = Arc::as_ptr(&endpoint.state);
                    let ejected = is_ejected(&cluster.shared, &endpoint.state, now);
                    if ejected {
                        let until = endpoint.state.ejected_until.load(Ordering::Relaxed);
                        recheck_at = recheck_at.min(until);
                    }
                    match endpoint.health_in(&cluster.config) {
                        _ if ejected => {}
                        Health::Healthy => healthy.push(index as u32),
                        Health::Degraded => degraded.push(index as u32),
                        Health::Draining | Health::Unhealthy => {}
                    }
                    let pools = pools
                        .entry(state)
                        .or_insert_with(|| Rc::new(EndpointPools::new(&cluster.config)))
                        .clone();
                    if ejected || endpoint.state.checked() == CheckResult::Failed {
                        pools.retire();
                    }
                    Slot {
                        endpoint: endpoint.clone(),
                        pools,
                    }
                })
                .collect();
            census.push(Census {
                total: slots.len(),
                healthy: healthy.len(),
                degraded: degraded.len(),
            });
            levels.push(Level::new(cluster, priority, slots, healthy, degraded));
        }
        let overprovisioning = match set.overprovisioning {
            0 => cluster.config.overprovisioning_percent,
            own => own,
        };
        Self {
            set: set.clone(),
            epoch: cluster.shared.health_epoch.load(Ordering::Acquire),
            recheck_at,
            loads: Loads::new(&census, overprovisioning, cluster.config.panic_threshold),
            levels,
            parts: RefCell::default(),
        }
    }

    /// The table of a subset, made when it is first asked for.
    fn part(&self, cluster: &Cluster, set: &Arc<EndpointSet>) -> Rc<Table> {
        let mut parts = self.parts.borrow_mut();
        let part = parts
            .entry(Arc::as_ptr(set))
            .or_insert_with(|| Rc::new(Self::build(cluster, set, &mut self.pools())));
        part.clone()
    }

    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.levels.iter().flat_map(|level| &level.slots)
    }

    /// Chooses an endpoint, of the subset that is asked for where there are any.
    pub fn pick(&self, cluster: &Cluster, context: &PickContext<'_>) -> Result<Picked, PickError> {
        let Some(subsets) = &self.set.subsets else {
            return self.pick_here(cluster, context);
        };
        let picked = match subsets.choose(context.criteria) {
            SubsetChoice::All => return self.pick_here(cluster, context),
            SubsetChoice::Part(set) => self.part(cluster, set).pick_here(cluster, context),
            SubsetChoice::Nowhere => Err(PickError::NoHealthyUpstream),
        };
        match picked {
            Err(_) if subsets.config.panic_mode_any => self.pick_here(cluster, context),
            picked => picked,
        }
    }

    /// Chooses an endpoint; chooses again, within `reselect`, when it was tried before.
    fn pick_here(&self, cluster: &Cluster, context: &PickContext<'_>) -> Result<Picked, PickError> {
        let mut again = context.reselect;
        loop {
            let (priority, slot) = self
                .once(cluster, context, context.reselect - again)
                .ok_or(PickError::NoHealthyUpstream)?;
            let tried = context
                .tried
                .iter()
                .any(|endpoint| Arc::ptr_eq(&endpoint.state, &slot.endpoint.state));
            if !tried || again == 0 {
                return Ok(Picked {
                    endpoint: slot.endpoint.clone(),
                    priority: priority as u32,
                    pools: slot.pools.clone(),
                });
            }
            again -= 1;
        }
    }

    fn once(
        &self,
        cluster: &Cluster,
        context: &PickContext<'_>,
        attempt: u32,
    ) -> Option<(usize, &Slot)> {
        let balancer = &cluster.config.balancer;
        let (priority, among) = match self.levels.len() {
            // The common case needs no random number.
            1 if self.loads.healthy.first() == Some(&100) && !self.loads.panic[0] => {
                (0, Among::Healthy)
            }
            _ => {
                let random = context.hash.unwrap_or_else(|| fastrand::u64(..));
                self.loads.choose(random, context.skip_priorities)?
            }
        };
        let level = &self.levels[priority];
        let group = match among {
            // A hash table has the localities' weights in it.
            Among::Healthy if !level.localities.is_empty() && balancer.hashing().is_none() => {
                level.locality()
            }
            Among::Healthy => &level.healthy,
            Among::Degraded => &level.degraded,
            Among::All => &level.all,
        };
        let table = self.set.priorities[priority].hash_table.as_ref();
        let index = match (balancer.hashing(), table) {
            (Some(hashing), Some(table)) => {
                let hash = context.hash.unwrap_or_else(|| fastrand::u64(..));
                let chosen = hashing::choose(group, table, hash, attempt)?;
                match hashing.balance_factor {
                    None => chosen,
                    Some(factor) => hashing::bounded(
                        (group, &level.slots),
                        (table, hash),
                        (&cluster.shared, factor),
                        chosen,
                    ),
                }
            }
            _ => group.choose(&level.slots, balancer)?,
        };
        Some((priority, &level.slots[index as usize]))
    }
}

impl Level {
    fn new(
        cluster: &Cluster,
        priority: &crate::model::Priority,
        slots: Vec<Slot>,
        healthy: Vec<u32>,
        degraded: Vec<u32>,
    ) -> Self {
        let balancer = &cluster.config.balancer;
        let mut localities = Vec::new();
        if cluster.config.locality_weighted {
            for locality in priority.localities.iter().filter(|l| l.weight > 0) {
                let members: Vec<u32> = healthy
                    .iter()
                    .copied()
                    .filter(|index| {
                        let state = &slots[*index as usize].endpoint.state;
                        locality
                            .endpoints
                            .iter()
                            .any(|endpoint| Arc::ptr_eq(&endpoint.state, state))
                    })
                    .collect();
                if members.is_empty() {
                    continue;
                }
                // Envoy: the weight shrinks when overprovisioning no longer covers the loss.
                let cover = (u64::from(cluster.config.overprovisioning_percent)
                    * members.len() as u64
                    / locality.endpoints.len().max(1) as u64)
                    .min(100);
                let group = Group::new(members, &slots, balancer);
                localities.push((u64::from(locality.weight) * cover, group));
            }
        }
        let all = (0..slots.len() as u32).collect();
        Self {
            healthy: Group::new(healthy, &slots, balancer),
            degraded: Group::new(degraded, &slots, balancer),
            all: Group::new(all, &slots, balancer),
            localities,
            slots,
        }
    }

    fn locality(&self) -> &Group {
        let total: u64 = self.localities.iter().map(|(weight, _)| weight).sum();
        if total == 0 {
            return &self.healthy;
        }
        let mut point = fastrand::u64(..total);
        for (weight, group) in &self.localities {
            if point < *weight && group.len() > 0 {
                return group;
            }
            point = point.saturating_sub(*weight);
        }
        &self.healthy
    }
}
