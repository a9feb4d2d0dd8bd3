//! Webhooks of an external control plane.

use std::net::IpAddr;

use crate::code::{EXTERNAL_CONTROL_PLANE_IP, INVALID_EXTERNAL_CONTROL_PLANE};
use crate::{Analyzer, Index, Platform, Report, Resource, Tree};

pub struct ExternalControlPlane;

const GROUP: &str = "admissionregistration.k8s.io";

impl Analyzer for ExternalControlPlane {
    fn name(&self) -> &'static str {
        "externalcontrolplane.ExternalControlPlaneAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks the addresses by which webhooks reach an external control plane; names are not resolved"
    }

    fn by_default(&self, index: &Index) -> bool {
        index.platform == Platform::Kubernetes
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let validating = index
            .kind(GROUP, "ValidatingWebhookConfiguration")
            .filter(|resource| {
                let name = &resource.name.name;
                name == "istiod-default-validator" || name.starts_with("istio-validator")
            });
        let mutating = index
            .kind(GROUP, "MutatingWebhookConfiguration")
            .filter(|resource| resource.name.name.starts_with("istio-sidecar-injector"));
        for resource in validating.chain(mutating) {
            for webhook in resource.tree().get("webhooks").items() {
                check(resource, &webhook, report);
            }
        }
    }
}

fn check(resource: &Resource, webhook: &Tree<'_>, report: &mut Report) {
    let name = webhook.get("name").text();
    let config = webhook.get("clientConfig");
    let url = config.get("url");
    if !url.exists() {
        if !config.get("service").exists() {
            report.add(
                &INVALID_EXTERNAL_CONTROL_PLANE,
                resource,
                url.path,
                format!("webhook {name} names neither a URL nor a service; it reaches nothing"),
                "set url to https:// and the host name of the control plane's ingress gateway",
            );
        }
        return;
    }
    match host(url.text()) {
        None => report.add(
            &INVALID_EXTERNAL_CONTROL_PLANE,
            resource,
            url.path.clone(),
            format!("webhook {name} has no usable URL: {:?}", url.text()),
            "write https://HOST[:PORT]/PATH",
        ),
        Some(host) if host.parse::<IpAddr>().is_ok() => report.add(
            &EXTERNAL_CONTROL_PLANE_IP,
            resource,
            url.path.clone(),
            format!("webhook {name} reaches the control plane by the address {host}"),
            "use a host name, so that the address can change",
        ),
        Some(_) => {}
    }
}

/// Host of a URL, brackets of IPv6 addresses taken off.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}
