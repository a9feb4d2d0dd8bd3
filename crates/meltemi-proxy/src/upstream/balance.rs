//! Choosing one of several endpoints: in turn, by least load, at random, by hash.

use super::table::Slot;
use crate::model::{Balancer, Endpoint, HashTable};
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering::Relaxed;

/// Some of a priority's endpoints, by index, with the state of the policy.
pub(super) struct Group {
    members: Vec<u32>,
    /// Next to take; starts anywhere, so that workers do not all begin with the same.
    cursor: Cell<usize>,
    /// Present when weights differ and the policy respects them.
    schedule: Option<RefCell<Schedule>>,
}

impl Group {
    pub fn new(members: Vec<u32>, slots: &[Slot], balancer: &Balancer) -> Self {
        let weight = |member: &u32| slots[*member as usize].endpoint.weight;
        let weighted = matches!(
            balancer,
            Balancer::RoundRobin | Balancer::LeastRequest { .. }
        ) && members
            .windows(2)
            .any(|two| weight(&two[0]) != weight(&two[1]));
        let schedule =
            weighted.then(|| RefCell::new(Schedule::new(members.iter().map(|m| (*m, weight(m))))));
        Self {
            cursor: Cell::new(fastrand::usize(..members.len().max(1))),
            members,
            schedule,
        }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Index of the chosen slot; `None` when the group is empty.
    pub fn choose(&self, slots: &[Slot], balancer: &Balancer) -> Option<u32> {
        if self.members.len() <= 1 {
            return self.members.first().copied();
        }
        let endpoint = |member: u32| -> &Endpoint { &slots[member as usize].endpoint };
        let active = |member: u32| endpoint(member).state.active_requests.load(Relaxed);
        Some(match (balancer, &self.schedule) {
            (Balancer::RoundRobin, Some(schedule)) => schedule
                .borrow_mut()
                .next(|member| f64::from(endpoint(member).weight)),
            (Balancer::LeastRequest { .. }, Some(schedule)) => schedule
                .borrow_mut()
                .next(|member| f64::from(endpoint(member).weight) / f64::from(active(member) + 1)),
            (Balancer::LeastRequest { choices }, None) => {
                let mut best = self.random();
                for _ in 1..*choices {
                    let other = self.random();
                    if active(other) < active(best) {
                        best = other;
                    }
                }
                best
            }
            (Balancer::RoundRobin, None) => {
                let next = (self.cursor.get() + 1) % self.members.len();
                self.cursor.set(next);
                self.members[next]
            }
            _ => self.random(),
        })
    }

    fn random(&self) -> u32 {
        self.members[fastrand::usize(..self.members.len())]
    }

    /// The hash table's choice; walks on where it names an endpoint outside the group.
    pub fn choose_by_hash(&self, table: &HashTable, hash: u64) -> Option<u32> {
        let usable = |index: u32| self.members.binary_search(&index).is_ok();
        match table {
            HashTable::Ring(ring) => {
                let start = ring.partition_point(|(point, _)| *point < hash);
                (0..ring.len())
                    .map(|step| ring[(start + step) % ring.len()].1)
                    .find(|index| usable(*index))
            }
            HashTable::Maglev(entries) => {
                let start = (hash % entries.len().max(1) as u64) as usize;
                (0..entries.len())
                    .map(|step| entries[(start + step) % entries.len()])
                    .find(|index| usable(*index))
            }
        }
    }
}

/// Earliest-deadline-first: an endpoint of weight w comes every 1/w.
struct Schedule {
    heap: BinaryHeap<Entry>,
    now: f64,
    order: u64,
}

struct Entry {
    deadline: f64,
    order: u64,
    member: u32,
}

impl Schedule {
    fn new(members: impl Iterator<Item = (u32, u32)>) -> Self {
        let heap = members
            .enumerate()
            .map(|(order, (member, weight))| Entry {
                // A random phase: workers and clients do not march in step.
                deadline: fastrand::f64() / f64::from(weight.max(1)),
                order: order as u64,
                member,
            })
            .collect::<BinaryHeap<_>>();
        Self {
            order: heap.len() as u64,
            heap,
            now: 0.0,
        }
    }

    fn next(&mut self, weight: impl Fn(u32) -> f64) -> u32 {
        let Some(mut top) = self.heap.peek_mut() else {
            return 0;
        };
        self.now = top.deadline;
        self.order += 1;
        top.deadline = self.now + 1.0 / weight(top.member).max(f64::MIN_POSITIVE);
        top.order = self.order;
        top.member
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .deadline
            .total_cmp(&self.deadline)
            .then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_share_out_exactly() {
        let mut schedule = Schedule::new([(0, 3), (1, 1)].into_iter());
        let mut seen = [0; 2];
        for _ in 0..400 {
            let member = schedule.next(|member| if member == 0 { 3.0 } else { 1.0 });
            seen[member as usize] += 1;
        }
        assert!((299..=301).contains(&seen[0]), "{seen:?}");
    }
}
