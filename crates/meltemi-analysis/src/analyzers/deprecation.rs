//! Fields and kinds that Istio has deprecated or removed.

use meltemi_api::networking::{Sidecar, VirtualService};

use crate::code::DEPRECATED;
use crate::report::at;
use crate::{Analyzer, Index, Report};

pub struct Deprecation;

/// Kinds whose definitions Istio has removed, of group `rbac.istio.io`.
const REMOVED: [&str; 4] = [
    "ClusterRbacConfig",
    "RbacConfig",
    "ServiceRole",
    "ServiceRoleBinding",
];

impl Analyzer for Deprecation {
    fn name(&self) -> &'static str {
        "deprecation.DeprecationAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks for deprecated fields and kinds"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for (resource, service) in index.of::<VirtualService>() {
            for (rule, http) in service.http.iter().enumerate() {
                let delay = http.fault.as_ref().and_then(|fault| fault.delay.as_ref());
                if delay.is_some_and(|delay| delay.percent > 0) {
                    report.add(
                        &DEPRECATED,
                        resource,
                        at!(spec.http[rule].fault.delay.percent),
                        "percent is deprecated",
                        "write percentage: {value: ...}, which allows fractions",
                    );
                }
            }
        }
        for (resource, sidecar) in index.of::<Sidecar>() {
            let policy = sidecar.outbound_traffic_policy.as_ref();
            if policy.is_some_and(|policy| policy.egress_proxy.is_some()) {
                report.add(
                    &DEPRECATED,
                    resource,
                    at!(spec.outboundTrafficPolicy.egressProxy),
                    "Istio ignores egressProxy",
                    "route through an egress gateway with a VirtualService",
                );
            }
        }
        for resource in index.kind("apiextensions.k8s.io", "CustomResourceDefinition") {
            let spec = resource.tree().get("spec");
            let kind = spec.at(&["names", "kind"]);
            if spec.get("group").text() == "rbac.istio.io" && REMOVED.contains(&kind.text()) {
                report.add(
                    &DEPRECATED,
                    resource,
                    kind.path.clone(),
                    format!("Istio has removed {} of rbac.istio.io", kind.text()),
                    "use AuthorizationPolicy and delete the definition",
                );
            }
        }
    }
}
