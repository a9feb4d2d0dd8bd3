//! MeshConfig. Fields that are absent have their default, so that only what is there is looked
//! at.

mod providers;
mod proxy;

use super::destination_rule::{locality, traffic_policy};
use super::names::{is_label, trust_domain, wildcard_domain};
use super::report::Report;
use super::tls::{mesh_cipher_suites, mesh_curves};
use super::virtual_service::retries;
use crate::mesh::MeshConfig;
use crate::networking::TlsProtocol;
use crate::{Duration, FieldPath};

pub(super) fn validate(spec: &MeshConfig, at: &FieldPath, report: &mut Report) {
    for (name, port) in [
        ("proxyListenPort", spec.proxy_listen_port),
        ("proxyInboundListenPort", spec.proxy_inbound_listen_port),
    ] {
        proxy::signed_port(port, &at.field(name), report);
    }
    if spec.proxy_http_port != 0 {
        proxy::signed_port(
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
        report.check(&at.field("trustDomain"), trust_domain(domain));
    }
    for (index, domain) in spec.trust_domain_aliases.iter().enumerate() {
        let at = at.field("trustDomainAliases").index(index);
        report.check(&at, trust_domain(domain));
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
        proxy::validate(config, &at.field("defaultConfig"), report);
    }
    providers::validate(
        &spec.extension_providers,
        &at.field("extensionProviders"),
        report,
    );
    if let Some(tls) = &spec.mesh_mtls {
        let at = at.field("meshMTLS");
        if !tls.ecdh_curves.is_empty() {
            let at = at.field("ecdhCurves");
            report.error(&at, "cannot be chosen between workloads", "remove it");
        }
        if matches!(
            tls.min_protocol_version,
            TlsProtocol::TlsV10 | TlsProtocol::TlsV11
        ) {
            let message = "workloads speak TLS 1.2 and 1.3 alone";
            report.warning(&at.field("minProtocolVersion"), message, "remove it");
        }
        mesh_cipher_suites(&tls.cipher_suites, &at.field("cipherSuites"), report);
    }
    if let Some(tls) = &spec.tls_defaults {
        let at = at.field("tlsDefaults");
        mesh_cipher_suites(&tls.cipher_suites, &at.field("cipherSuites"), report);
        mesh_curves(&tls.ecdh_curves, &at.field("ecdhCurves"), report);
    }
}
