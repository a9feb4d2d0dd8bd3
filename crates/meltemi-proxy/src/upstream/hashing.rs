//! Choosing an endpoint by a hash, and another one where it has more than its part.

use super::balance::Group;
use super::table::Slot;
use crate::model::{ClusterShared, HashPlaces, HashTable};
use std::sync::atomic::Ordering::Relaxed;

/// The choice of the table; walks on where it names an endpoint outside the group. `attempt`
/// counts the choices that were not wanted: each leads elsewhere, as in Envoy.
pub(super) fn choose(group: &Group, table: &HashTable, hash: u64, attempt: u32) -> Option<u32> {
    let usable = |index: &u32| group.holds(*index);
    match &table.places {
        HashPlaces::Ring(ring) => {
            let first = ring.partition_point(|(point, _)| *point < hash);
            let start = first + attempt as usize;
            (0..ring.len())
                .map(|step| ring[(start + step) % ring.len()].1)
                .find(usable)
        }
        HashPlaces::Maglev(entries) => {
            let hash = hash ^ u64::from(attempt).wrapping_neg();
            let start = (hash % entries.len().max(1) as u64) as usize;
            (0..entries.len())
                .map(|step| entries[(start + step) % entries.len()])
                .find(usable)
        }
    }
}

/// `chosen`, unless it has more than `factor` percent of the average load; then the first that
/// has not, in an order that the hash decides, or else the one that is least above it.
pub(super) fn bounded(
    (group, slots): (&Group, &[Slot]),
    (table, hash): (&HashTable, u64),
    (shared, factor): (&ClusterShared, u32),
    chosen: u32,
) -> u32 {
    let sum: f64 = share_of(group, table).sum();
    let all = u64::from(shared.requests.load(Relaxed)) + 1;
    let total = (all * u64::from(factor)).div_ceil(100) as f64;
    let load = |member: u32| {
        let active = slots[member as usize]
            .endpoint
            .state
            .active_requests
            .load(Relaxed);
        let room = (total * table.shares[member as usize] / sum)
            .ceil()
            .max(1.0);
        f64::from(active) / room
    };
    let mut least = (load(chosen), chosen);
    if least.0 <= 1.0 {
        return chosen;
    }
    let mut others: Vec<u32> = group.members().to_vec();
    fastrand::Rng::with_seed(hash).shuffle(&mut others);
    for other in others {
        let load = load(other);
        if load <= 1.0 {
            return other;
        }
        if load < least.0 {
            least = (load, other);
        }
    }
    least.1
}

fn share_of<'a>(group: &'a Group, table: &'a HashTable) -> impl Iterator<Item = f64> + 'a {
    let members = group.members().iter();
    members.map(|member| table.shares[*member as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testkit::{cluster_config, endpoint};
    use crate::model::Balancer;
    use crate::upstream::pool::EndpointPools;
    use std::rc::Rc;
    use std::sync::Arc;

    fn slots(count: u16) -> Vec<Slot> {
        let config = Arc::new(cluster_config("hashing"));
        let slot = |port| Slot {
            endpoint: Arc::new(endpoint(([127, 0, 0, 1], port).into())),
            pools: Rc::new(EndpointPools::new(&config)),
        };
        (1..=count).map(slot).collect()
    }

    fn table(places: HashPlaces) -> HashTable {
        HashTable {
            places,
            shares: Box::new([0.25; 4]),
        }
    }

    fn both() -> [HashTable; 2] {
        let ring = [(10, 0), (20, 1), (30, 2), (40, 3)];
        let ring = table(HashPlaces::Ring(Arc::new(ring)));
        let maglev = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2];
        [ring, table(HashPlaces::Maglev(Arc::new(maglev)))]
    }

    #[test]
    fn a_choice_that_is_not_wanted_leads_to_another() {
        let slots = slots(4);
        let group = Group::new(vec![0, 1, 3], &slots, &Balancer::Random);
        for table in both() {
            let first = choose(&group, &table, 15, 0);
            assert_eq!(first, choose(&group, &table, 15, 0));
            let others = (1..=5).map(|attempt| choose(&group, &table, 15, attempt));
            let mut found: Vec<_> = others.chain([first]).flatten().collect();
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, [0, 1, 3], "all of the group, and nobody else");
        }
    }

    #[test]
    fn who_has_more_than_its_part_is_passed_by() {
        let (slots, shared) = (slots(4), ClusterShared::default());
        let group = Group::new(vec![0, 1, 2, 3], &slots, &Balancer::Random);
        let active = |member: usize| &slots[member].endpoint.state.active_requests;
        let [table, _] = both();
        let pick = |factor| bounded((&group, &slots), (&table, 7), (&shared, factor), 0);
        active(0).store(3, Relaxed);
        shared.requests.store(3, Relaxed);
        assert_eq!(pick(300), 0, "(3 + 1) * 3 / 4: three fit");
        let other = pick(100);
        assert_ne!(other, 0);
        assert_eq!(pick(100), other, "the same hash goes the same way");
        for member in 0..4 {
            active(member).store(9 - u32::from(member == 2), Relaxed);
        }
        assert_eq!(pick(100), 2, "of too many, who is least above");
    }
}
