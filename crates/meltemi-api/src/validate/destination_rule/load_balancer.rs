//! How an endpoint is picked.

use super::super::report::Report;
use crate::FieldPath;
use crate::networking::{
    ConsistentHashLb, LoadBalancerSettings, LocalityFailover, LocalityLoadBalancerSetting,
    ZoneAwareLoadBalancerSetting,
};

const REGION: &str = "topology.kubernetes.io/region";
/// Topology labels, which zone-aware balancing handles by itself.
const TOPOLOGY: [&str; 4] = [
    REGION,
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
    "topology.istio.io/cluster",
];

pub(super) fn load_balancer(
    settings: &LoadBalancerSettings,
    has_outlier_detection: bool,
    at: &FieldPath,
    report: &mut Report,
) {
    let algorithms = [
        settings.simple.is_some(),
        settings.consistent_hash.is_some(),
        settings.backend_utilization.is_some(),
    ];
    if algorithms.iter().filter(|set| **set).count() > 1 {
        let message = "has more than one of simple, consistentHash, backendUtilization";
        report.error(at, message, "keep one of them");
    }
    if let Some(hash) = &settings.consistent_hash {
        consistent_hash(hash, &at.field("consistentHash"), report);
    }
    if let Some(setting) = &settings.locality_lb_setting {
        locality(
            setting,
            has_outlier_detection,
            &at.field("localityLbSetting"),
            report,
        );
    }
    if let Some(setting) = &settings.zone_aware_lb_setting {
        zone_aware(
            setting,
            has_outlier_detection,
            &at.field("zoneAwareLbSetting"),
            report,
        );
        if settings.locality_lb_setting.is_some() {
            let message = "has both localityLbSetting and zoneAwareLbSetting";
            report.error(at, message, "keep one of them");
        }
    }
    if settings.warmup.is_some() && settings.warmup_duration_secs.is_some() {
        report.error(at, "has both warmup and warmupDurationSecs", "keep warmup");
    }
    if let Some(warmup) = &settings.warmup {
        let at = at.field("warmup");
        if warmup.duration.is_none() {
            report.error(&at, "has no duration", "set duration");
        }
        report.duration(&at.field("duration"), warmup.duration);
        if let Some(percent) = warmup.minimum_percent {
            report.percent(&at.field("minimumPercent"), percent);
        }
        if warmup.aggression.is_some_and(|aggression| aggression < 1.0) {
            report.error(
                &at.field("aggression"),
                "must be 1.0 or more",
                "leave it out for 1.0",
            );
        }
    }
}

/// Largest Maglev table Envoy takes.
const MAX_MAGLEV: u64 = 5_000_011;

fn consistent_hash(hash: &ConsistentHashLb, at: &FieldPath, report: &mut Report) {
    let keys = [
        hash.http_header_name.is_some(),
        hash.http_cookie.is_some(),
        hash.use_source_ip.is_some(),
        hash.http_query_parameter_name.is_some(),
    ];
    match keys.iter().filter(|set| **set).count() {
        1 => {}
        0 => report.error(
            at,
            "says not what is hashed",
            "set httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName",
        ),
        _ => report.error(at, "hashes more than one thing", "keep one of them"),
    }
    if hash.ring_hash.is_some() && hash.maglev.is_some() {
        report.error(at, "has both ringHash and maglev", "keep one of them");
    }
    if let Some(cookie) = &hash.http_cookie
        && cookie.name.is_empty()
    {
        report.error(
            &at.field("httpCookie").field("name"),
            "is required",
            "name the cookie",
        );
    }
    if let Some(size) = hash.maglev.as_ref().and_then(|maglev| maglev.table_size)
        && (size > MAX_MAGLEV || !is_prime(size))
    {
        report.error(
            &at.field("maglev").field("tableSize"),
            format!("{size} is not a prime of at most {MAX_MAGLEV}"),
            "use for example 65537",
        );
    }
}

/// For numbers up to [`MAX_MAGLEV`], whose root is small.
fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..)
            .take_while(|d| d * d <= number)
            .all(|d| !number.is_multiple_of(d))
}

pub(crate) fn locality(
    setting: &LocalityLoadBalancerSetting,
    has_outlier_detection: bool,
    at: &FieldPath,
    report: &mut Report,
) {
    if !setting.distribute.is_empty()
        && (!setting.failover.is_empty() || !setting.failover_priority.is_empty())
    {
        report.error(at, "has both distribute and failover", "keep one of them");
    }
    let mut sources: Vec<&str> = Vec::new();
    for (index, distribute) in setting.distribute.iter().enumerate() {
        let at = at.field("distribute").index(index);
        localities(&distribute.from, &mut sources, &at.field("from"), report);
        let mut targets: Vec<&str> = Vec::new();
        for (to, weight) in &distribute.to {
            let at = at.field("to").field(to);
            localities(to, &mut targets, &at, report);
            if !(1..=100).contains(weight) {
                report.error(
                    &at,
                    format!("{weight} is not in 1..100"),
                    "write a percentage",
                );
            }
        }
        let total: u64 = distribute
            .to
            .values()
            .map(|weight| u64::from(*weight))
            .sum();
        if total != 100 {
            report.error(
                &at.field("to"),
                format!("adds up to {total}, not 100"),
                "adjust it",
            );
        }
    }
    failover(&setting.failover, &at.field("failover"), report);
    if !setting.failover.is_empty()
        && setting
            .failover_priority
            .iter()
            .any(|label| label.split('=').next() == Some(REGION))
    {
        let message = format!("failover and {REGION} in failoverPriority exclude each other");
        report.error(&at.field("failoverPriority"), message, "keep one of them");
    }
    needs_outlier(
        &setting.failover,
        &setting.failover_priority,
        has_outlier_detection,
        at,
        report,
    );
}

fn zone_aware(
    setting: &ZoneAwareLoadBalancerSetting,
    has_outlier_detection: bool,
    at: &FieldPath,
    report: &mut Report,
) {
    failover(&setting.failover, &at.field("failover"), report);
    for (index, label) in setting.failover_priority.iter().enumerate() {
        let key = label.split('=').next().unwrap_or_default();
        if TOPOLOGY.contains(&key) {
            let message = format!("{key} is handled by zone-aware balancing itself");
            report.error(
                &at.field("failoverPriority").index(index),
                message,
                "remove it",
            );
        }
    }
    if setting.min_cluster_size == Some(0) {
        report.error(
            &at.field("minClusterSize"),
            "must be 1 or more",
            "leave it out",
        );
    }
    needs_outlier(
        &setting.failover,
        &setting.failover_priority,
        has_outlier_detection,
        at,
        report,
    );
}

fn needs_outlier(
    failover: &[LocalityFailover],
    priority: &[String],
    has_outlier_detection: bool,
    at: &FieldPath,
    report: &mut Report,
) {
    if !has_outlier_detection && (!failover.is_empty() || !priority.is_empty()) {
        report.warning(
            at,
            "failover needs outlierDetection to know which endpoints fail",
            "add outlierDetection",
        );
    }
}

fn failover(entries: &[LocalityFailover], at: &FieldPath, report: &mut Report) {
    for (index, entry) in entries.iter().enumerate() {
        let at = at.index(index);
        if entry.from == entry.to {
            report.error(&at, "names the same region twice", "name another one in to");
        }
        for (name, region) in [("from", &entry.from), ("to", &entry.to)] {
            let at = at.field(name);
            if region.contains('*') {
                report.error(&at, "a region has no wildcards", "write it out");
            } else if region.contains('/') {
                report.error(&at, "names a region only", "remove zone and subzone");
            }
        }
    }
}

/// `region/zone/subzone` with `*` at the end only; not covered by an earlier one.
fn localities<'a>(text: &'a str, seen: &mut Vec<&'a str>, at: &FieldPath, report: &mut Report) {
    if text.trim_end_matches('*').contains('*') {
        report.error(
            at,
            "a wildcard stands at the end only",
            "write for example us-west/*",
        );
    }
    if text.split('/').any(str::is_empty) || text.split('/').count() > 3 {
        report.error(
            at,
            format!("{text:?} is not a locality"),
            "write region/zone/subzone",
        );
    }
    let covers = |outer: &str, inner: &str| match outer.strip_suffix('*') {
        Some(prefix) => inner.starts_with(prefix),
        None => inner == outer || inner.starts_with(&format!("{outer}/")),
    };
    if let Some(other) = seen
        .iter()
        .find(|other| covers(other, text) || covers(text, other))
    {
        report.error(
            at,
            format!("{text:?} overlaps with {other:?}"),
            "remove one of them",
        );
    }
    seen.push(text);
}
