//! Endpoint sets from assignments: priorities, localities, transports, balancing tables.
//! Built here, off the workers' threads.

use super::subsets;
use super::tables::{self, Weighted};
use crate::compile::assignment::{Assignment, EndpointSpec, Host};
use crate::model::{
    Address, Balancer, ClusterConfig, Endpoint, EndpointSet, EndpointState, HashPlaces, HashTable,
    Health, Locality, Priority,
};
use crate::worker::millis_since_start;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Builds the set of a cluster. Addresses that `former` has keep their state (load,
/// ejection). Host names that are still unresolved are skipped.
pub fn build(config: &ClusterConfig, assignment: &Assignment, former: &EndpointSet) -> EndpointSet {
    let mut states: HashMap<&Address, &Arc<EndpointState>> = former
        .priorities
        .iter()
        .flat_map(|priority| &priority.localities)
        .flat_map(|locality| &locality.endpoints)
        .map(|endpoint| (&endpoint.address, &endpoint.state))
        .collect();
    let mut priorities: Vec<Priority> = Vec::new();
    for spec in &assignment.localities {
        let level = spec.priority as usize;
        if priorities.len() <= level {
            priorities.resize_with(level + 1, Priority::default);
        }
        let endpoints = spec
            .endpoints
            .iter()
            .filter_map(|endpoint| self::endpoint(config, endpoint, &mut states))
            .collect();
        priorities[level].localities.push(Locality {
            region: spec.region.clone(),
            zone: spec.zone.clone(),
            sub_zone: spec.sub_zone.clone(),
            weight: spec.weight,
            endpoints,
        });
    }
    priorities.shrink_to_fit();
    for priority in &mut priorities {
        priority.localities.shrink_to_fit();
        priority.endpoints = priority
            .localities
            .iter()
            .flat_map(|locality| &locality.endpoints)
            .filter(|endpoint| usable(endpoint))
            .cloned()
            .collect();
        priority.hash_table = hash_table(config, priority);
    }
    let mut set = EndpointSet {
        priorities,
        overprovisioning: assignment.overprovisioning,
        drop_per_million: assignment.drop_per_million,
        subsets: None,
    };
    set.subsets = subsets::build(config, &set);
    set
}

/// Discovery does not call it unhealthy (Envoy counts draining endpoints as such).
fn usable(endpoint: &Endpoint) -> bool {
    matches!(endpoint.health, Health::Healthy | Health::Degraded)
}

fn endpoint(
    config: &ClusterConfig,
    spec: &EndpointSpec,
    states: &mut HashMap<&Address, &Arc<EndpointState>>,
) -> Option<Arc<Endpoint>> {
    let address = match &spec.host {
        Host::Address(address) => Address::Socket(*address),
        Host::Pipe(path) => Address::Pipe(path.clone()),
        Host::Name(..) => return None,
    };
    let state = states.get(&address).map(|state| Arc::clone(state));
    Some(Arc::new(Endpoint {
        address,
        hostname: spec.hostname.clone(),
        weight: spec.weight,
        health: spec.health,
        transport: config.transport.index(&spec.transport_match),
        transport_match: spec.transport_match.clone(),
        lb_metadata: spec.lb_metadata.clone(),
        check: spec.check.clone(),
        workload: spec.workload.clone(),
        state: state.unwrap_or_else(|| {
            let state = EndpointState::default();
            let now = millis_since_start();
            state.warming_since.store(now, Ordering::Relaxed);
            Arc::new(state)
        }),
    }))
}

pub fn hash_table(config: &ClusterConfig, priority: &Priority) -> Option<HashTable> {
    let use_hostname = config.balancer.hashing()?.use_hostname;
    let keys: Vec<Box<str>> = priority
        .endpoints
        .iter()
        .map(|endpoint| key(endpoint, use_hostname))
        .collect();
    let shares = shares(config, priority);
    // Endpoints of localities without weight have no share and no place in the table.
    let kept: Vec<u32> = (0..keys.len() as u32)
        .filter(|index| shares[*index as usize] > 0.0)
        .collect();
    let weighted: Vec<Weighted<'_>> = kept
        .iter()
        .map(|index| Weighted {
            key: &keys[*index as usize],
            share: shares[*index as usize],
        })
        .collect();
    let places = match config.balancer {
        Balancer::Maglev { table_size, .. } => HashPlaces::Maglev(
            tables::maglev(&weighted, table_size)
                .into_iter()
                .map(|index| kept[index as usize])
                .collect(),
        ),
        Balancer::RingHash {
            minimum,
            maximum,
            function,
            ..
        } => HashPlaces::Ring(
            tables::ring(&weighted, minimum, maximum, function)
                .into_iter()
                .map(|(hash, index)| (hash, kept[index as usize]))
                .collect(),
        ),
        _ => return None,
    };
    Some(HashTable {
        places,
        shares: shares.into(),
    })
}

fn key(endpoint: &Endpoint, use_hostname: bool) -> Box<str> {
    if use_hostname && !endpoint.hostname.is_empty() {
        return endpoint.hostname.clone();
    }
    match &endpoint.address {
        Address::Socket(address) => address.to_string().into(),
        Address::Pipe(path) => path.display().to_string().into(),
    }
}

/// Each usable endpoint's share of the priority, in the order of `Priority::endpoints`.
fn shares(config: &ClusterConfig, priority: &Priority) -> Vec<f64> {
    let mut shares = Vec::with_capacity(priority.endpoints.len());
    let all: f64 = priority
        .localities
        .iter()
        .map(|l| f64::from(l.weight))
        .sum();
    let by_locality = config.locality_weighted && all > 0.0;
    let total: f64 = priority.endpoints.iter().map(|e| f64::from(e.weight)).sum();
    for locality in &priority.localities {
        let usable: Vec<f64> = locality
            .endpoints
            .iter()
            .filter(|endpoint| usable(endpoint))
            .map(|endpoint| f64::from(endpoint.weight))
            .collect();
        let (part, of) = if by_locality {
            (f64::from(locality.weight) / all, usable.iter().sum())
        } else {
            (1.0, total)
        };
        shares.extend(usable.into_iter().map(|weight| part * weight / of));
    }
    // Localities without a usable endpoint leave their part to the others.
    let sum: f64 = shares.iter().sum();
    if sum > 0.0 {
        shares.iter_mut().for_each(|share| *share /= sum);
    }
    shares
}
