//! Choosing one of several endpoints: in turn, by least load, at random, by hash.

use super::table::Slot;
use crate::model::{Balancer, Endpoint};
use crate::worker::millis_since_start as now_ms;
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Some of a priority's endpoints, by index, with the state of the policy.
pub(super) struct Group {
    members: Vec<u32>,
    /// Next to take; starts anywhere, so that workers do not all begin with the same.
    cursor: Cell<usize>,
    /// Present when shares differ and the policy respects them.
    schedule: Option<RefCell<Schedule>>,
}

impl Group {
    pub fn new(members: Vec<u32>, slots: &[Slot], balancer: &Balancer) -> Self {
        let endpoint = |member: &u32| -> &Endpoint { &slots[*member as usize].endpoint };
        let differ = || {
            members
                .windows(2)
                .any(|two| endpoint(&two[0]).weight != endpoint(&two[1]).weight)
        };
        let now = now_ms();
        let warming = || {
            let some = |member| {
                balancer
                    .slow_start()
                    .is_some_and(|slow| age(endpoint(member), now) < slow.window)
            };
            members.iter().any(some)
        };
        let scheduled = matches!(
            balancer,
            Balancer::RoundRobin { .. } | Balancer::LeastRequest { .. }
        ) && (differ() || warming());
        let schedule = scheduled.then(|| {
            let shares = members
                .iter()
                .map(|m| (*m, share(endpoint(m), balancer, now)));
            RefCell::new(Schedule::new(shares))
        });
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
        if let Some(schedule) = &self.schedule {
            let now = balancer.slow_start().map_or(0, |_| now_ms());
            let share = |member| share(endpoint(member), balancer, now);
            return Some(schedule.borrow_mut().next(share));
        }
        let active = |member: &u32| endpoint(*member).state.active_requests.load(Relaxed);
        Some(match balancer {
            Balancer::LeastRequest {
                choices: Some(choices),
                ..
            } => {
                let mut best = self.random();
                for _ in 1..*choices {
                    let other = self.random();
                    if active(&other) < active(&best) {
                        best = other;
                    }
                }
                best
            }
            Balancer::LeastRequest { choices: None, .. } => {
                // Of those with equally few requests any: the walk begins anywhere.
                let start = fastrand::usize(..self.members.len());
                let (behind, ahead) = self.members.split_at(start);
                let all = ahead.iter().chain(behind);
                all.copied().min_by_key(active)?
            }
            Balancer::RoundRobin { .. } => {
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

    /// Whether the slot is one of the group.
    pub fn holds(&self, member: u32) -> bool {
        self.members.binary_search(&member).is_ok()
    }

    pub fn members(&self) -> &[u32] {
        &self.members
    }
}

/// How long the endpoint has been in use.
fn age(endpoint: &Endpoint, now: u64) -> Duration {
    let since = endpoint.state.warming_since.load(Relaxed);
    Duration::from_millis(now.saturating_sub(since))
}

/// The endpoint's part of the requests at present, relative to others.
fn share(endpoint: &Endpoint, balancer: &Balancer, now: u64) -> f64 {
    let weight = f64::from(endpoint.weight);
    let weight = match balancer {
        Balancer::LeastRequest { bias, .. } => {
            let active = endpoint.state.active_requests.load(Relaxed);
            weight / f64::from(active + 1).powf(*bias)
        }
        _ => weight,
    };
    match balancer.slow_start() {
        Some(slow) => weight * slow.factor(age(endpoint, now)),
        None => weight,
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
    fn new(members: impl Iterator<Item = (u32, f64)>) -> Self {
        let heap = members
            .enumerate()
            .map(|(order, (member, weight))| Entry {
                // A random phase: workers and clients do not march in step.
                deadline: fastrand::f64() / weight.max(f64::MIN_POSITIVE),
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
    use crate::model::SlowStart;

    #[test]
    fn a_new_endpoint_comes_to_its_share_slowly() {
        let slow = SlowStart {
            window: Duration::from_secs(10),
            aggression: 1.0,
            minimum: 0.1,
        };
        let after = |slow: &SlowStart, seconds| slow.factor(Duration::from_secs(seconds));
        assert_eq!(after(&slow, 0), 0.1);
        assert_eq!(after(&slow, 5), 0.5);
        assert_eq!(after(&slow, 10), 1.0);
        let eager = SlowStart {
            aggression: 2.0,
            ..slow
        };
        assert_eq!(after(&eager, 0), 0.1);
        assert!((after(&eager, 5) - 0.5f64.sqrt()).abs() < 1e-9);
        let mut schedule = Schedule::new([(0, 1.0), (1, 0.1)].into_iter());
        let mut seen = [0; 2];
        for _ in 0..110 {
            let part = |member| if member == 0 { 1.0 } else { after(&slow, 1) };
            seen[schedule.next(part) as usize] += 1;
        }
        assert!((9..=11).contains(&seen[1]), "{seen:?}");
    }

    #[test]
    fn weights_share_out_exactly() {
        let mut schedule = Schedule::new([(0, 3.0), (1, 1.0)].into_iter());
        let mut seen = [0; 2];
        for _ in 0..400 {
            let member = schedule.next(|member| if member == 0 { 3.0 } else { 1.0 });
            seen[member as usize] += 1;
        }
        assert!((299..=301).contains(&seen[0]), "{seen:?}");
    }
}
