//! Outlier detection.

use super::basic::{bool_or, duration_or, u32_or};
use super::presence::refuse;
use super::{At, Error, Result, pb};
use crate::model::{Consecutive, FailurePercentage, OutlierDetection, SuccessRate, Volume};
use pb::{cluster as proto, wkt};
use std::time::Duration;

/// Envoy's, where none is configured.
const INTERVAL: Duration = Duration::from_secs(10);
const BASE_EJECTION_TIME: Duration = Duration::from_secs(30);
const MAX_EJECTION_TIME: Duration = Duration::from_secs(300);

pub fn outlier(value: proto::OutlierDetection) -> Result<OutlierDetection> {
    let proto::OutlierDetection {
        consecutive_5xx,
        interval,
        base_ejection_time,
        max_ejection_percent,
        enforcing_consecutive_5xx,
        enforcing_success_rate,
        success_rate_minimum_hosts,
        success_rate_request_volume,
        success_rate_stdev_factor,
        consecutive_gateway_failure,
        enforcing_consecutive_gateway_failure,
        split_external_local_origin_errors,
        consecutive_local_origin_failure,
        enforcing_consecutive_local_origin_failure,
        enforcing_local_origin_success_rate,
        failure_percentage_threshold,
        enforcing_failure_percentage,
        enforcing_failure_percentage_local_origin,
        failure_percentage_minimum_hosts,
        failure_percentage_request_volume,
        max_ejection_time,
        max_ejection_time_jitter,
        successful_active_health_check_uneject_host,
        monitors,
        always_eject_one_host,
        detect_degraded_hosts,
    } = value;
    refuse!(monitors);
    if bool_or(detect_degraded_hosts, false) {
        return Err(Error::unsupported("detect_degraded_hosts"));
    }
    let interval = duration_or(interval, INTERVAL).at("interval")?;
    if interval.is_zero() {
        return Err(Error::new("must be above 0").at_field("interval"));
    }
    let base = duration_or(base_ejection_time, BASE_EJECTION_TIME).at("base_ejection_time")?;
    let longest =
        duration_or(max_ejection_time, MAX_EJECTION_TIME.max(base)).at("max_ejection_time")?;
    if longest < base {
        return Err(Error::new("is below base_ejection_time").at_field("max_ejection_time"));
    }
    let percent = |value: Option<wkt::UInt32Value>, default| u32_or(value, default).min(100);
    let consecutive = |threshold, enforcing, default| Consecutive {
        threshold: u32_or(threshold, 5),
        enforcing: percent(enforcing, default),
    };
    let volume = |hosts, requests, default| Volume {
        hosts: u32_or(hosts, 5),
        requests: u32_or(requests, default),
    };
    Ok(OutlierDetection {
        consecutive_5xx: consecutive(consecutive_5xx, enforcing_consecutive_5xx, 100),
        consecutive_gateway_failure: consecutive(
            consecutive_gateway_failure,
            enforcing_consecutive_gateway_failure,
            0,
        ),
        consecutive_local_origin_failure: consecutive(
            consecutive_local_origin_failure,
            enforcing_consecutive_local_origin_failure,
            100,
        ),
        split_local_origin: split_external_local_origin_errors,
        success_rate: SuccessRate {
            volume: volume(success_rate_minimum_hosts, success_rate_request_volume, 100),
            stdev_factor: f64::from(u32_or(success_rate_stdev_factor, 1900)) / 1000.0,
            enforcing: percent(enforcing_success_rate, 100),
            enforcing_local_origin: percent(enforcing_local_origin_success_rate, 100),
        },
        failure_percentage: FailurePercentage {
            volume: volume(
                failure_percentage_minimum_hosts,
                failure_percentage_request_volume,
                50,
            ),
            threshold: u32_or(failure_percentage_threshold, 85),
            enforcing: percent(enforcing_failure_percentage, 0),
            enforcing_local_origin: percent(enforcing_failure_percentage_local_origin, 0),
        },
        interval,
        base_ejection_time: base,
        max_ejection_time: longest,
        max_ejection_time_jitter: duration_or(max_ejection_time_jitter, Duration::ZERO)
            .at("max_ejection_time_jitter")?,
        max_ejection_percent: percent(max_ejection_percent, 10),
        always_eject_one_host: bool_or(always_eject_one_host, false),
        uneject_on_passed_check: bool_or(successful_active_health_check_uneject_host, true),
    })
}
