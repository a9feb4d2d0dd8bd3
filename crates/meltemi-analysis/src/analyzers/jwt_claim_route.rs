//! Routes by JWT claim at a gateway that validates no JWT.

use meltemi_api::FieldPath;
use meltemi_api::networking::{Gateway, VirtualService};

use super::virtual_service_gateway::gateway_name;
use crate::code::CLAIM_WITHOUT_AUTHENTICATION;
use crate::report::at;
use crate::selector::selects;
use crate::workload::workloads;
use crate::{Analyzer, Index, Report};

pub struct JwtClaimRoute;

/// Header names that stand for a claim of a validated token (Istio).
const CLAIMS: &str = "@request.auth.claims";

impl Analyzer for JwtClaimRoute {
    fn name(&self) -> &'static str {
        "virtualservice.JWTClaimRouteAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that routes by JWT claim have a RequestAuthentication at their gateway"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let workloads = workloads(index);
        for (resource, service) in index.of::<VirtualService>() {
            let Some((field, header)) = claim(service) else {
                continue;
            };
            for name in service.gateways.iter().filter(|name| *name != "mesh") {
                let (namespace, name) = gateway_name(name, resource.namespace());
                let Some((gateway, spec)) = index.find::<Gateway>(namespace, name) else {
                    continue;
                };
                let unprotected = workloads
                    .iter()
                    .filter(|workload| selects(&spec.selector, &workload.labels))
                    .find(|workload| {
                        let policies = index.kind("security.istio.io", "RequestAuthentication");
                        !policies
                            .filter(|policy| {
                                policy.namespace() == workload.namespace()
                                    || policy.namespace() == index.root_namespace()
                            })
                            .any(|policy| {
                                let selector =
                                    policy.tree().at(&["spec", "selector", "matchLabels"]);
                                selects(&selector.texts(), &workload.labels)
                            })
                    });
                if let Some(workload) = unprotected {
                    report.add(
                        &CLAIM_WITHOUT_AUTHENTICATION,
                        resource,
                        field.clone(),
                        format!(
                            "{header} never matches: no RequestAuthentication validates tokens at {} of gateway {}",
                            workload.resource.name.name,
                            gateway.full_name()
                        ),
                        "apply a RequestAuthentication that selects the gateway's workload",
                    );
                }
            }
        }
    }
}

/// The first condition on a claim, and its header.
fn claim(service: &VirtualService) -> Option<(FieldPath, &str)> {
    for (rule, http) in service.http.iter().enumerate() {
        for (alternative, matched) in http.matches.iter().enumerate() {
            let path = at!(spec.http[rule].match[alternative]);
            let with = matched.headers.keys().map(|name| ("headers", name));
            let without = matched
                .without_headers
                .keys()
                .map(|name| ("withoutHeaders", name));
            for (field, name) in with.chain(without) {
                if name.starts_with(CLAIMS) {
                    return Some((path.field(field).field(name), name));
                }
            }
        }
    }
    None
}
