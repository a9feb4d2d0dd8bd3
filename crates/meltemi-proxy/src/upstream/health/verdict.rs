//! What single checks say, and what follows from several.

use crate::model::{CheckResult, EndpointState, HealthCheck};
use std::borrow::Cow;
use std::fmt;

#[derive(Debug)]
pub(super) enum Verdict {
    Passed,
    /// It serves, but others are to be preferred (`x-envoy-degraded`).
    Degraded,
    Failed {
        why: Cow<'static, str>,
        /// Nobody said so: it takes several of these to make an endpoint unhealthy.
        network: bool,
    },
}

impl Verdict {
    pub fn unreachable(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed {
            why: why.into(),
            network: true,
        }
    }

    pub fn unhealthy(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed {
            why: why.into(),
            network: false,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Degraded => f.write_str("degraded"),
            Self::Failed { why, .. } => write!(f, "failed: {why}"),
        }
    }
}

/// Equal results in a row.
#[derive(Default)]
pub(super) struct Streak {
    successes: u32,
    failures: u32,
}

impl Streak {
    /// Takes a result in; whether the endpoint's health is another now.
    pub fn take(&mut self, check: &HealthCheck, state: &EndpointState, verdict: &Verdict) -> bool {
        let known = state.checked();
        let good = match verdict {
            Verdict::Passed => CheckResult::Passed,
            Verdict::Degraded => CheckResult::Degraded,
            Verdict::Failed { network, .. } => {
                self.successes = 0;
                self.failures += 1;
                let enough = !network || self.failures >= check.unhealthy_threshold;
                if known == CheckResult::Failed || !(enough || known == CheckResult::Pending) {
                    return false;
                }
                state.set_checked(CheckResult::Failed);
                // One that was never healthy stays what it was taken for.
                return known != CheckResult::Pending;
            }
        };
        self.failures = 0;
        self.successes += 1;
        let enough = match known {
            CheckResult::Failed => self.successes >= check.healthy_threshold,
            // The first result counts at once, and so does a word on degradation.
            _ => true,
        };
        if !enough || known == good {
            return false;
        }
        state.set_checked(good);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CheckIntervals, HealthProbe};
    use std::time::Duration;

    fn check() -> HealthCheck {
        let second = Duration::from_secs(1);
        HealthCheck {
            probe: HealthProbe::Tcp {
                send: None,
                receive: Vec::new(),
            },
            timeout: second,
            unhealthy_threshold: 2,
            healthy_threshold: 3,
            intervals: CheckIntervals {
                steady: second,
                no_traffic: second,
                no_traffic_healthy: second,
                unhealthy: second,
                unhealthy_edge: second,
                healthy_edge: second,
                initial_jitter: Duration::ZERO,
                jitter: Duration::ZERO,
                jitter_percent: 0,
            },
            reuse_connection: true,
            alt_port: None,
            transport_criteria: None,
        }
    }

    #[test]
    fn thresholds_count_results_in_a_row() {
        let (check, state) = (check(), EndpointState::default());
        let mut streak = Streak::default();
        let mut take = |verdict: Verdict| {
            let changed = streak.take(&check, &state, &verdict);
            (state.passes_checks(), changed)
        };
        assert_eq!(take(Verdict::Passed), (true, true), "the first one counts");
        assert_eq!(take(Verdict::unreachable("x")), (true, false));
        assert_eq!(take(Verdict::Passed), (true, false));
        assert_eq!(take(Verdict::unreachable("x")), (true, false));
        assert_eq!(take(Verdict::unreachable("x")), (false, true));
        assert_eq!(take(Verdict::Passed), (false, false));
        assert_eq!(take(Verdict::Passed), (false, false));
        assert_eq!(take(Verdict::Passed), (true, true));
        assert_eq!(take(Verdict::unhealthy("said so")), (false, true));
    }

    #[test]
    fn an_endpoint_that_was_never_healthy_needs_one_success() {
        let (check, state) = (check(), EndpointState::default());
        let mut streak = Streak::default();
        assert!(!state.passes_checks());
        assert!(!streak.take(&check, &state, &Verdict::unreachable("x")));
        assert_eq!(state.checked(), CheckResult::Failed);
        for _ in 0..2 {
            assert!(!streak.take(&check, &state, &Verdict::Passed));
        }
        assert!(streak.take(&check, &state, &Verdict::Degraded));
        assert_eq!(state.checked(), CheckResult::Degraded);
    }
}
