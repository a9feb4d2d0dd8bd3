//! DestinationRule.

mod load_balancer;
mod pool;
mod tls;

pub(super) use load_balancer::locality;
pub(super) use pool::pool;
pub(super) use tls::client_tls;

use super::names::{is_label, wildcard_domain};
use super::report::Report;
use crate::FieldPath;
use crate::networking::{
    ConnectionPoolSettings, DestinationRule, LoadBalancerSettings, OutlierDetection, Subset,
    TrafficPolicy,
};

pub(super) fn validate(spec: &DestinationRule, at: &FieldPath, report: &mut Report) {
    report.check(&at.field("host"), wildcard_domain(&spec.host));
    report.export_to(&at.field("exportTo"), &spec.export_to, false);
    if let Some(selector) = &spec.workload_selector {
        selector_scope(spec, at, report);
        let at = at.field("workloadSelector");
        if selector.match_labels.is_empty() {
            report.warning(
                &at,
                "has no labels: it selects every workload",
                "add matchLabels",
            );
        }
        report.selector(&at.field("matchLabels"), &selector.match_labels);
    }
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy(policy, &at.field("trafficPolicy"), report);
    }
    for (index, subset) in spec.subsets.iter().enumerate() {
        let at = at.field("subsets").index(index);
        subset_rules(subset, &at, report);
        if spec.subsets[..index]
            .iter()
            .any(|other| other.name == subset.name)
        {
            let message = format!("the subset {:?} is there for a second time", subset.name);
            report.warning(&at.field("name"), message, "rename it");
        }
    }
}

/// A rule for some clients stays in its namespace.
fn selector_scope(spec: &DestinationRule, at: &FieldPath, report: &mut Report) {
    let at = at.field("exportTo");
    let message = "a rule with a workloadSelector applies in its own namespace only";
    match spec.export_to.as_slice() {
        [] => {}
        [only] if only == "." => {}
        _ => report.error(&at, message, "write exportTo: [\".\"] or leave it out"),
    }
}

fn subset_rules(subset: &Subset, at: &FieldPath, report: &mut Report) {
    if !is_label(&subset.name) {
        report.error(
            &at.field("name"),
            format!("{:?} is not a subset's name", subset.name),
            "use letters, digits and '-', at most 63",
        );
    }
    report.labels(&at.field("labels"), &subset.labels);
    if let Some(policy) = &subset.traffic_policy {
        traffic_policy(policy, &at.field("trafficPolicy"), report);
    }
}

pub(super) fn traffic_policy(policy: &TrafficPolicy, at: &FieldPath, report: &mut Report) {
    if *policy == TrafficPolicy::default() {
        return report.error(at, "is empty", "add a policy, or remove it");
    }
    common(
        policy.load_balancer.as_ref(),
        policy.connection_pool.as_ref(),
        policy.outlier_detection.as_ref(),
        at,
        report,
    );
    if let Some(settings) = &policy.tls {
        client_tls(settings, &at.field("tls"), report);
    }
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        let at = at.field("portLevelSettings").index(index);
        match &port.port {
            Some(port) => report.port(&at.field("port").field("number"), port.number),
            None => report.error(&at, "names no port", "set port.number"),
        }
        common(
            port.load_balancer.as_ref(),
            port.connection_pool.as_ref(),
            port.outlier_detection.as_ref(),
            &at,
            report,
        );
        if let Some(settings) = &port.tls {
            client_tls(settings, &at.field("tls"), report);
        }
    }
    if let Some(tunnel) = &policy.tunnel {
        let at = at.field("tunnel");
        if !["", "CONNECT", "POST"].contains(&tunnel.protocol.as_str()) {
            let message = format!("{:?} is not a tunnel's protocol", tunnel.protocol);
            report.error(&at.field("protocol"), message, "use CONNECT or POST");
        }
        if tunnel.target_host.parse::<std::net::IpAddr>().is_err() {
            report.check(
                &at.field("targetHost"),
                super::names::fqdn(&tunnel.target_host),
            );
        }
        report.port(&at.field("targetPort"), tunnel.target_port);
    }
    if let Some(budget) = &policy.retry_budget {
        let at = at.field("retryBudget");
        if let Some(percent) = budget.percent {
            report.percent(&at.field("percent"), percent);
        }
        report.duration(&at.field("budgetInterval"), budget.budget_interval);
    }
}

fn common(
    balancer: Option<&LoadBalancerSettings>,
    limits: Option<&ConnectionPoolSettings>,
    outlier: Option<&OutlierDetection>,
    at: &FieldPath,
    report: &mut Report,
) {
    if let Some(settings) = balancer {
        load_balancer::load_balancer(
            settings,
            outlier.is_some(),
            &at.field("loadBalancer"),
            report,
        );
    }
    if let Some(limits) = limits {
        pool(limits, &at.field("connectionPool"), report);
    }
    if let Some(outlier) = outlier {
        outlier_detection(outlier, &at.field("outlierDetection"), report);
    }
}

fn outlier_detection(outlier: &OutlierDetection, at: &FieldPath, report: &mut Report) {
    report.duration(&at.field("interval"), outlier.interval);
    report.duration(&at.field("baseEjectionTime"), outlier.base_ejection_time);
    if outlier.consecutive_errors != 0 {
        let remedy = "use consecutive5xxErrors or consecutiveGatewayErrors";
        report.warning(&at.field("consecutiveErrors"), "is deprecated", remedy);
    }
    if !outlier.split_external_local_origin_errors
        && outlier
            .consecutive_local_origin_failures
            .is_some_and(|count| count > 0)
    {
        report.error(
            &at.field("consecutiveLocalOriginFailures"),
            "counts only with splitExternalLocalOriginErrors",
            "set splitExternalLocalOriginErrors: true",
        );
    }
    report.percent(
        &at.field("maxEjectionPercent"),
        f64::from(outlier.max_ejection_percent),
    );
    report.percent(
        &at.field("minHealthPercent"),
        f64::from(outlier.min_health_percent),
    );
    for (index, code) in outlier
        .outlier_detection_http_error_codes
        .iter()
        .enumerate()
    {
        if !(100..=599).contains(code) {
            let at = at.field("outlierDetectionHttpErrorCodes").index(index);
            report.error(
                &at,
                format!("{code} is not an HTTP status"),
                "write 100..599",
            );
        }
    }
}
