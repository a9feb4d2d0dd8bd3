//! How Envoy divides requests between priorities: by the health of each, an
//! overprovisioning factor, and panic when too little is left.

/// What one priority has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Census {
    pub total: usize,
    pub healthy: usize,
    pub degraded: usize,
}

/// Percent of requests by priority; healthy and degraded loads add up to 100.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Loads {
    pub healthy: Vec<u32>,
    pub degraded: Vec<u32>,
    /// Choose among all endpoints of the priority, whatever their health.
    pub panic: Vec<bool>,
}

/// Which endpoints of a priority to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    Healthy,
    Degraded,
    All,
}

fn health(part: usize, total: usize, overprovisioning: u32) -> u32 {
    if total == 0 {
        return 0;
    }
    (u64::from(overprovisioning) * part as u64 / total as u64).min(100) as u32
}

impl Loads {
    /// `overprovisioning` in percent (Envoy 140), `panic_threshold` in percent (50).
    pub fn new(census: &[Census], overprovisioning: u32, panic_threshold: u32) -> Self {
        let healthy: Vec<u32> = census
            .iter()
            .map(|level| health(level.healthy, level.total, overprovisioning))
            .collect();
        let degraded: Vec<u32> = census
            .iter()
            .map(|level| health(level.degraded, level.total, overprovisioning))
            .collect();
        let available = (healthy.iter().sum::<u32>() + degraded.iter().sum::<u32>()).min(100);
        let mut loads = Self {
            healthy: vec![0; census.len()],
            degraded: vec![0; census.len()],
            panic: vec![false; census.len()],
        };
        if available == 0 && panic_threshold == 0 {
            if let Some(first) = loads.healthy.first_mut() {
                *first = 100;
            }
            return loads;
        }
        if available < 100 {
            for (panic, level) in loads.panic.iter_mut().zip(census) {
                *panic = level.total == 0
                    || (level.healthy * 100) < panic_threshold as usize * level.total;
            }
        }
        if panic_threshold > 0 && loads.panic.iter().all(|panic| *panic) {
            loads.spread_by_size(census);
        } else {
            let rest = assign(&healthy, available, 100, &mut loads.healthy);
            let rest = assign(&degraded, available, rest, &mut loads.degraded);
            // What rounding left goes to the first priority that has any load.
            if let Some(first) = loads.healthy.iter_mut().find(|load| **load > 0) {
                *first += rest;
            } else if let Some(first) = loads.degraded.iter_mut().find(|load| **load > 0) {
                *first += rest;
            }
        }
        loads
    }

    /// Every priority panics: requests follow the number of endpoints.
    fn spread_by_size(&mut self, census: &[Census]) {
        let total: usize = census.iter().map(|level| level.total).sum();
        if total == 0 {
            return;
        }
        let mut rest = 100;
        for (load, level) in self.healthy.iter_mut().zip(census) {
            *load = (100 * level.total / total) as u32;
            rest -= *load;
        }
        if let Some(first) = self.healthy.iter_mut().find(|load| **load > 0) {
            *first += rest;
        }
    }

    /// The priority for a random number, without those in the bit set `skip` as long as
    /// another one has load.
    pub fn choose(&self, random: u64, skip: u32) -> Option<(usize, Among)> {
        let kept = |index: usize| skip & (1u32.checked_shl(index as u32).unwrap_or(0)) == 0;
        let sum = |loads: &[u32]| -> u32 {
            loads
                .iter()
                .enumerate()
                .filter(|(index, _)| kept(*index))
                .map(|(_, load)| *load)
                .sum()
        };
        let total = sum(&self.healthy) + sum(&self.degraded);
        if total == 0 {
            return if skip == 0 {
                None
            } else {
                self.choose(random, 0)
            };
        }
        let mut point = (random % u64::from(total)) as u32;
        for (loads, among) in [
            (&self.healthy, Among::Healthy),
            (&self.degraded, Among::Degraded),
        ] {
            for (index, load) in loads.iter().enumerate().filter(|(index, _)| kept(*index)) {
                if point < *load {
                    let panic = self.panic[index];
                    return Some((index, if panic { Among::All } else { among }));
                }
                point -= load;
            }
        }
        None
    }
}

fn assign(health: &[u32], available: u32, mut rest: u32, loads: &mut [u32]) -> u32 {
    for (load, health) in loads.iter_mut().zip(health) {
        *load = (health * 100).checked_div(available).unwrap_or(0).min(rest);
        rest -= *load;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(total: usize, healthy: usize) -> Census {
        Census {
            total,
            healthy,
            degraded: 0,
        }
    }

    fn loads(levels: &[Census]) -> Vec<u32> {
        Loads::new(levels, 140, 50).healthy
    }

    /// The examples of Envoy's documentation on priority levels.
    #[test]
    fn priorities_spill_over_as_envoy_documents() {
        assert_eq!(loads(&[level(100, 100), level(100, 100)]), [100, 0]);
        assert_eq!(loads(&[level(100, 72), level(100, 72)]), [100, 0]);
        assert_eq!(loads(&[level(100, 71), level(100, 71)]), [99, 1]);
        assert_eq!(loads(&[level(100, 50), level(100, 60)]), [70, 30]);
        assert_eq!(loads(&[level(100, 25), level(100, 100)]), [35, 65]);
        assert_eq!(loads(&[level(100, 0), level(100, 100)]), [0, 100]);
        assert_eq!(
            loads(&[level(100, 25), level(100, 25), level(100, 25)]),
            [35, 35, 30]
        );
    }

    #[test]
    fn too_little_health_everywhere_panics() {
        let loads = Loads::new(&[level(10, 1), level(30, 2)], 140, 50);
        assert_eq!(loads.healthy, [25, 75]);
        assert_eq!(loads.choose(0, 0), Some((0, Among::All)));
        assert_eq!(loads.choose(99, 0), Some((1, Among::All)));
    }

    #[test]
    fn no_panic_when_the_threshold_is_zero() {
        let loads = Loads::new(&[level(10, 0)], 140, 0);
        assert_eq!(loads.choose(7, 0), Some((0, Among::Healthy)));
    }

    #[test]
    fn degraded_endpoints_take_what_healthy_ones_cannot() {
        let census = Census {
            total: 10,
            healthy: 5,
            degraded: 5,
        };
        let loads = Loads::new(&[census], 100, 50);
        assert_eq!((loads.healthy[0], loads.degraded[0]), (50, 50));
        assert_eq!(loads.choose(60, 0), Some((0, Among::Degraded)));
    }

    #[test]
    fn skipped_priorities_are_used_only_when_nothing_else_is_left() {
        let loads = Loads::new(&[level(1, 1), level(1, 0)], 140, 0);
        assert_eq!(loads.choose(3, 1), Some((0, Among::Healthy)));
        let loads = Loads::new(&[level(100, 50), level(100, 60)], 140, 0);
        assert_eq!(loads.choose(3, 1), Some((1, Among::Healthy)));
    }
}
