//! Endpoints whose requests fail more often than those of others, or too often altogether.

use super::ejection::{Kind, detected};
use crate::model::{Cluster, Endpoint, OutlierDetection, SuccessRate, Tally};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An endpoint's requests of one interval.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    /// Percent that succeeded.
    success: f64,
    requests: u32,
}

/// Looks at the interval that is over, and begins another.
pub(super) fn compare(cluster: &Cluster, detection: &OutlierDetection) {
    type Side = (fn(&Endpoint) -> &Tally, Kind, Kind);
    let sides: [Side; 2] = [
        (
            |endpoint| &endpoint.state.external,
            Kind::SuccessRate,
            Kind::FailurePercentage,
        ),
        (
            |endpoint| &endpoint.state.local,
            Kind::LocalOriginSuccessRate,
            Kind::LocalOriginFailurePercentage,
        ),
    ];
    for (tally, by_success_rate, by_failure_percentage) in sides {
        let rates: Vec<(&Arc<Endpoint>, Rate)> = cluster
            .endpoints
            .endpoints()
            .filter_map(|endpoint| Some((endpoint, rate(tally(endpoint))?)))
            .filter(|(endpoint, _)| endpoint.state.ejected_until.load(Ordering::Relaxed) == 0)
            .collect();
        let find = |kind, wrong: &dyn Fn(&Rate) -> bool| {
            for (endpoint, _) in rates.iter().filter(|(_, rate)| wrong(rate)) {
                detected(cluster, endpoint, detection, kind);
            }
        };
        let seen: Vec<Rate> = rates.iter().map(|(_, rate)| *rate).collect();
        let required = detection.success_rate.volume.requests;
        if let Some(lowest) = lowest(&seen, &detection.success_rate) {
            find(by_success_rate, &|rate| {
                rate.requests >= required && rate.success < lowest
            });
        }
        let limit = &detection.failure_percentage;
        let enough = |rate: &Rate| rate.requests >= limit.volume.requests;
        let many = seen.iter().filter(|rate| enough(rate)).count();
        if many >= limit.volume.hosts.max(1) as usize {
            find(by_failure_percentage, &|rate| {
                enough(rate) && 100.0 - rate.success >= f64::from(limit.threshold)
            });
        }
    }
}

/// What was counted since the last time; `None` without a request.
fn rate(tally: &Tally) -> Option<Rate> {
    let (requests, successes) = tally.take();
    (requests > 0).then(|| Rate {
        success: 100.0 * f64::from(successes) / f64::from(requests),
        requests,
    })
}

/// The success rate below which an endpoint is an outlier; `None` when too few endpoints had
/// enough requests.
fn lowest(rates: &[Rate], limit: &SuccessRate) -> Option<f64> {
    let enough: Vec<f64> = rates
        .iter()
        .filter(|rate| rate.requests >= limit.volume.requests)
        .map(|rate| rate.success)
        .collect();
    if enough.is_empty() || enough.len() < limit.volume.hosts as usize {
        return None;
    }
    let count = enough.len() as f64;
    let mean = enough.iter().sum::<f64>() / count;
    let variance = enough.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
    Some(mean - limit.stdev_factor * variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testkit::{cluster_config, endpoint, endpoints, no_outliers};
    use crate::model::{ClusterId, FailurePercentage, Volume};
    use crate::upstream::outlier::{Outcome, is_ejected, release, report};
    use crate::worker::millis_since_start;

    fn limit(hosts: u32, requests: u32) -> SuccessRate {
        SuccessRate {
            volume: Volume { hosts, requests },
            stdev_factor: 1.9,
            enforcing: 100,
            enforcing_local_origin: 100,
        }
    }

    fn rates(percent: &[f64]) -> Vec<Rate> {
        let rate = |success: &f64| Rate {
            success: *success,
            requests: 100,
        };
        percent.iter().map(rate).collect()
    }

    /// The example in the comments of Envoy's detector.
    #[test]
    fn the_limit_is_below_the_mean_by_standard_deviations() {
        let rates = rates(&[50.0, 100.0, 100.0, 100.0, 100.0]);
        assert_eq!(lowest(&rates, &limit(5, 100)), Some(52.0));
    }

    #[test]
    fn too_few_hosts_or_requests_say_nothing() {
        let rates = rates(&[50.0, 100.0, 100.0, 100.0]);
        assert_eq!(lowest(&rates, &limit(5, 100)), None);
        assert_eq!(lowest(&rates, &limit(4, 101)), None);
        assert!(lowest(&rates, &limit(4, 100)).is_some());
        assert_eq!(lowest(&[], &limit(0, 0)), None);
    }

    /// Ten endpoints, of whose hundred requests this many failed.
    fn used(detection: OutlierDetection, failed: [u32; 10]) -> Cluster {
        let mut config = cluster_config("rates");
        config.outlier = Some(detection);
        let all = (1..=10).map(|port| endpoint(([127, 0, 0, 1], port).into()));
        let cluster = Cluster {
            id: ClusterId(0),
            config: Arc::new(config),
            endpoints: Arc::new(endpoints(all.collect())),
            shared: Arc::default(),
        };
        for (endpoint, failed) in cluster.endpoints.endpoints().zip(failed) {
            for request in 0..100 {
                let status = if request < failed { 500 } else { 200 };
                report(&cluster, endpoint, Outcome::Status(status));
            }
        }
        cluster
    }

    /// The numbers of the endpoints that are ejected.
    fn ejected(cluster: &Cluster) -> Vec<usize> {
        let now = millis_since_start();
        let all = cluster.endpoints.endpoints().enumerate();
        let out = all.filter(|(_, one)| is_ejected(&cluster.shared, &one.state, now));
        out.map(|(index, _)| index).collect()
    }

    const BY_RATE: OutlierDetection = OutlierDetection {
        success_rate: SuccessRate {
            volume: Volume {
                hosts: 5,
                requests: 100,
            },
            ..no_outliers().success_rate
        },
        ..no_outliers()
    };

    #[test]
    fn who_fails_more_than_the_others_is_ejected_until_it_is_released() {
        let enforced = OutlierDetection {
            success_rate: SuccessRate {
                enforcing: 100,
                ..BY_RATE.success_rate
            },
            ..BY_RATE
        };
        let failed = [0, 0, 40, 0, 1, 0, 2, 0, 0, 0];
        for (detection, expected) in [(enforced.clone(), vec![2]), (BY_RATE, vec![])] {
            let cluster = used(detection.clone(), failed);
            compare(&cluster, &detection);
            assert_eq!(ejected(&cluster), expected);
            compare(&cluster, &detection);
            assert_eq!(ejected(&cluster), expected, "an interval without requests");
            for endpoint in cluster.endpoints.endpoints() {
                release(&cluster.shared, &endpoint.state);
            }
            assert_eq!(ejected(&cluster), [0; 0]);
            assert_eq!(cluster.shared.ejected.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn no_more_are_ejected_than_the_percentage_says() {
        let limited = |percent, always| OutlierDetection {
            failure_percentage: FailurePercentage {
                volume: Volume {
                    hosts: 5,
                    requests: 50,
                },
                threshold: 85,
                enforcing: 100,
                enforcing_local_origin: 0,
            },
            max_ejection_percent: percent,
            always_eject_one_host: always,
            ..no_outliers()
        };
        let failed = [84, 85, 90, 100, 0, 0, 0, 0, 0, 0];
        for (detection, expected) in [
            (limited(100, false), vec![1, 2, 3]),
            (limited(29, false), vec![1, 2]),
            (limited(9, false), vec![]),
            (limited(9, true), vec![1]),
        ] {
            let cluster = used(detection.clone(), failed);
            compare(&cluster, &detection);
            assert_eq!(ejected(&cluster), expected);
        }
    }

    #[test]
    fn an_interval_forgets_the_one_before() {
        let tally = Tally::default();
        assert_eq!(rate(&tally), None);
        for success in [true, true, true, false] {
            tally.count(success);
        }
        let known = Rate {
            success: 75.0,
            requests: 4,
        };
        assert_eq!(rate(&tally), Some(known));
        assert_eq!(rate(&tally), None);
    }
}
