//! The main thread's look at the resources, and its statistics: `overload.NAME.*`, as Envoy's.

use super::{Action, Effect, FULL, Levels, Overload};
use crate::sys;
use crate::telemetry::stats::{Counter, Gauge};
use std::sync::Arc;

/// Looks for ever. `release` gives memory back that the allocator holds for nobody.
pub async fn refresh(overload: Overload, levels: Arc<Levels>, release: fn()) {
    let mut watched = Watched::new(overload, release);
    let mut ticks = tokio::time::interval(watched.overload.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        watched.look(&levels);
    }
}

struct Watched {
    overload: Overload,
    resources: Vec<Resource>,
    actions: Vec<Shown>,
    shrinks: Counter,
    release: fn(),
}

/// Statistics of a resource, and its last pressure.
struct Resource {
    pressure: f64,
    shown: u64,
    gauge: Gauge,
    failed: Counter,
    /// The last look failed: the log tells of the first in a row.
    has_failed: bool,
}

/// Statistics of an action, and its last level.
struct Shown {
    level: u32,
    active: Gauge,
    scale: Gauge,
}

impl Watched {
    fn new(overload: Overload, release: fn()) -> Self {
        let resource = |name: &str| Resource {
            pressure: 0.0,
            shown: 0,
            gauge: Gauge::scoped("overload", name, "pressure"),
            failed: Counter::scoped("overload", name, "failed_updates"),
            has_failed: false,
        };
        let shown = |action: &Action| Shown {
            level: 0,
            active: Gauge::scoped("overload", &action.name, "active"),
            scale: Gauge::scoped("overload", &action.name, "scale_percent"),
        };
        let monitors = overload.monitors.iter();
        let resources = monitors.map(|(name, _)| resource(name)).collect();
        let actions = overload.actions.iter().map(shown).collect();
        Self {
            shrinks: Counter::new("overload.envoy.overload_actions.shrink_heap.shrink_count"),
            overload,
            resources,
            actions,
            release,
        }
    }

    fn look(&mut self, levels: &Levels) {
        let monitors = self.overload.monitors.iter_mut();
        for ((name, monitor), resource) in monitors.zip(&mut self.resources) {
            match monitor.pressure() {
                Ok(pressure) => {
                    resource.pressure = pressure;
                    let percent = (pressure * 100.0) as u64;
                    resource.gauge.change(resource.shown, percent);
                    resource.shown = percent;
                    resource.has_failed = false;
                }
                // The last pressure stays.
                Err(reason) => {
                    resource.failed.inc();
                    if !std::mem::replace(&mut resource.has_failed, true) {
                        tracing::warn!(monitor = %name, %reason, "a resource cannot be looked at");
                    }
                }
            }
        }
        let mut strongest: Vec<(Effect, u32)> = Vec::new();
        for (action, shown) in self.overload.actions.iter().zip(&mut self.actions) {
            let triggers = action.triggers.iter();
            let level = triggers
                .map(|(index, trigger)| trigger.level(self.resources[*index].pressure))
                .max()
                .unwrap_or(0);
            shown.tell(&action.name, level);
            match strongest
                .iter_mut()
                .find(|(effect, _)| *effect == action.effect)
            {
                Some((_, strongest)) => *strongest = level.max(*strongest),
                None => strongest.push((action.effect, level)),
            }
        }
        for (effect, level) in strongest {
            levels.set(effect, level);
            if effect == Effect::ShrinkHeap && level == FULL {
                (self.release)();
                sys::release_program_pages();
                self.shrinks.inc();
            }
        }
    }
}

impl Shown {
    fn tell(&mut self, name: &str, level: u32) {
        let (was, is) = (self.level == FULL, level == FULL);
        if was != is {
            tracing::warn!(action = %name, active = is, "overload");
        }
        self.active.change(was.into(), is.into());
        self.scale
            .change((self.level / 10).into(), (level / 10).into());
        self.level = level;
    }
}

#[cfg(test)]
mod tests {
    use super::super::monitor::Monitor;
    use super::super::trigger::Trigger;
    use super::*;
    use std::time::Duration;

    #[test]
    fn pressure_becomes_levels_and_statistics() {
        let file = std::env::temp_dir().join(format!("pressure-{}", std::process::id()));
        let action = |name: &str, effect, trigger| Action {
            name: name.into(),
            effect,
            counted: false,
            triggers: vec![(0, trigger)],
        };
        let mut watched = Watched::new(
            Overload {
                interval: Duration::from_secs(1),
                monitors: vec![(
                    "injected".into(),
                    Monitor::Injected {
                        file: file.clone().into(),
                    },
                )],
                actions: vec![
                    action("stop", Effect::StopRequests, Trigger::Threshold(0.9)),
                    action(
                        "reject",
                        Effect::RejectConnections,
                        Trigger::Scaled { from: 0.4, to: 0.8 },
                    ),
                ],
                timers: Default::default(),
                max_connections: None,
            },
            || {},
        );
        let levels = Levels::default();
        let gauge = |name, rest| Gauge::scoped("overload", name, rest).value();
        for (pressure, stops, scale) in [("0.3", 0, 0), ("0.6", 0, 49), ("0.95", 1, 100)] {
            std::fs::write(&file, pressure).unwrap();
            watched.look(&levels);
            assert_eq!(levels.refuses_request(), stops == 1);
            assert_eq!(gauge("stop", "active"), stops);
            assert!(
                gauge("reject", "scale_percent").abs_diff(scale) <= 1,
                "{pressure}"
            );
        }
        assert_eq!(gauge("injected", "pressure"), 95);
        std::fs::remove_file(&file).unwrap();
        watched.look(&levels);
        assert!(levels.refuses_request(), "the last pressure stays");
        let failed = Counter::scoped("overload", "injected", "failed_updates");
        assert_eq!(failed.value(), 1);
    }
}
