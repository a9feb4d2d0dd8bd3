//! MeshConfig.

use super::destination_rule::{locality, traffic_policy};
use super::names::{fqdn, is_label, wildcard_domain};
use super::report::Report;
use super::virtual_service::retries;
use crate::mesh::{MeshConfig, ProxyConfig};
use crate::{Duration, FieldPath};

pub(super) fn validate(spec: &MeshConfig, at: &FieldPath, report: &mut Report) {
    for (name, port) in [
        ("proxyListenPort", spec.proxy_listen_port),
        ("proxyInboundListenPort", spec.proxy_inbound_listen_port),
    ] {
        signed_port(port, &at.field(name), report);
    }
    if spec.proxy_http_port != 0 {
        signed_port(
            Some(spec.proxy_http_port),
            &at.field("proxyHttpPort"),
            report,
        );
    }
    report.duration(&at.field("connectTimeout"), spec.connect_timeout);
    if spec
        .connect_timeout
        .is_some_and(|time| time > Duration::from_secs(3600))
    {
        report.error(
            &at.field("connectTimeout"),
            "is more than 1h",
            "write for example 10s",
        );
    }
    let detection = &at.field("protocolDetectionTimeout");
    report.duration_or_zero(detection, spec.protocol_detection_timeout);
    if let Some(domain) = &spec.trust_domain {
        trust_domain(domain, &at.field("trustDomain"), report);
    }
    for (index, domain) in spec.trust_domain_aliases.iter().enumerate() {
        trust_domain(domain, &at.field("trustDomainAliases").index(index), report);
    }
    if let Some(namespace) = &spec.root_namespace
        && !is_label(namespace)
    {
        let message = format!("{namespace:?} is not a namespace");
        report.error(&at.field("rootNamespace"), message, "name a namespace");
    }
    for (index, settings) in spec.service_settings.iter().enumerate() {
        for (at_host, host) in settings.hosts.iter().enumerate() {
            let at = at
                .field("serviceSettings")
                .index(index)
                .field("hosts")
                .index(at_host);
            report.check(&at, wildcard_domain(host));
        }
    }
    if let Some(setting) = &spec.locality_lb_setting {
        locality(setting, true, &at.field("localityLbSetting"), report);
    }
    if let Some(policy) = &spec.default_http_retry_policy {
        retries(policy, &at.field("defaultHttpRetryPolicy"), report);
    }
    if let Some(policy) = &spec.default_inbound_http_retry_policy {
        let at = at.field("defaultInboundHttpRetryPolicy");
        retries(policy, &at, report);
        for (name, set) in [
            ("perTryTimeout", policy.per_try_timeout.is_some()),
            (
                "retryRemoteLocalities",
                policy.retry_remote_localities.is_some(),
            ),
        ] {
            if set {
                report.warning(&at.field(name), "has no effect inbound", "remove it");
            }
        }
    }
    if let Some(policy) = &spec.default_traffic_policy {
        traffic_policy(policy, &at.field("defaultTrafficPolicy"), report);
    }
    for (name, list) in [
        ("defaultServiceExportTo", &spec.default_service_export_to),
        (
            "defaultVirtualServiceExportTo",
            &spec.default_virtual_service_export_to,
        ),
        (
            "defaultDestinationRuleExportTo",
            &spec.default_destination_rule_export_to,
        ),
    ] {
        report.export_to(&at.field(name), list, true);
    }
    if let Some(config) = &spec.default_config {
        proxy_config(config, &at.field("defaultConfig"), report);
    }
}

fn signed_port(port: Option<i32>, at: &FieldPath, report: &mut Report) {
    if let Some(port) = port {
        report.port(at, u32::try_from(port).unwrap_or_default());
    }
}

fn trust_domain(domain: &str, at: &FieldPath, report: &mut Report) {
    report.check(at, fqdn(domain));
}

fn proxy_config(config: &ProxyConfig, at: &FieldPath, report: &mut Report) {
    if let Some(duration) = config.drain_duration {
        let at = at.field("drainDuration");
        report.duration(&at, Some(duration));
        if duration.get().subsec_nanos() != 0 {
            report.error(&at, "has parts of a second", "round it to seconds");
        }
    }
    report.duration_or_zero(
        &at.field("terminationDrainDuration"),
        config.termination_drain_duration,
    );
    signed_port(config.proxy_admin_port, &at.field("proxyAdminPort"), report);
    signed_port(config.status_port, &at.field("statusPort"), report);
    if let Some(threads) = config.concurrency {
        report.not_negative(&at.field("concurrency"), threads);
    }
    if config.service_cluster.is_some() && config.tracing_service_name.is_some() {
        let message = "has both serviceCluster and tracingServiceName";
        report.error(at, message, "keep one of them");
    }
}
