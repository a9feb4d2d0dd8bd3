//! istiod fetching `jwksUri`s from wherever a RequestAuthentication says.

use crate::code::JWKS_FETCH_UNRESTRICTED;
use crate::report::at;
use crate::{Analyzer, Index, Platform, Report, Resource};

pub struct JwksFetch;

/// Environment variable of istiod with the address ranges that it does not fetch from.
const BLOCKED: &str = "BLOCKED_CIDRS_IN_JWKS_URIS";

impl Analyzer for JwksFetch {
    fn name(&self) -> &'static str {
        "authn.BlockedCIDRsAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that istiod does not fetch JWKS from any address"
    }

    fn by_default(&self, index: &Index) -> bool {
        index.platform == Platform::Kubernetes
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let authentications = index
            .kind("security.istio.io", "RequestAuthentication")
            .count();
        if authentications == 0 {
            return;
        }
        for deployment in index.kind("apps", "Deployment") {
            let is_istiod = deployment
                .labels
                .get("app")
                .is_some_and(|app| app == "istiod");
            if is_istiod && !is_restricted(deployment) {
                report.add(
                    &JWKS_FETCH_UNRESTRICTED,
                    deployment,
                    at!(spec.template.spec.containers),
                    format!("{authentications} RequestAuthentications can make istiod fetch from any address"),
                    format!("set {BLOCKED} to the ranges that it must not reach, such as those of metadata services"),
                );
            }
        }
    }
}

fn is_restricted(deployment: &Resource) -> bool {
    let containers = deployment
        .tree()
        .at(&["spec", "template", "spec", "containers"]);
    containers.items().iter().any(|container| {
        container.get("env").items().iter().any(|variable| {
            variable.get("name").text() == BLOCKED && !variable.get("value").text().is_empty()
        })
    })
}
