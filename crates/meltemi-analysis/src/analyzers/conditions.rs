//! Objects whose status says that they are not in force.

use crate::code::NEGATIVE_CONDITION;
use crate::{Analyzer, Index, Report, Tree};

pub struct Conditions;

/// Gateway API group.
const GATEWAY_API: &str = "gateway.networking.k8s.io";
const ROUTE: &[&str] = &["Accepted", "Programmed", "ResolvedRefs"];

/// Group, kind, and the condition types that ought not to be false.
const WATCHED: [(&str, &str, &[&str]); 6] = [
    ("", "Service", &["istio.io/WaypointBound"]),
    (
        "networking.istio.io",
        "ServiceEntry",
        &["istio.io/WaypointBound"],
    ),
    (
        "security.istio.io",
        "AuthorizationPolicy",
        &["ZtunnelAccepted", "WaypointAccepted"],
    ),
    (GATEWAY_API, "Gateway", ROUTE),
    (GATEWAY_API, "HTTPRoute", ROUTE),
    (GATEWAY_API, "GRPCRoute", ROUTE),
];

impl Analyzer for Conditions {
    fn name(&self) -> &'static str {
        "conditions.ConditionAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks the status of objects for conditions that say they are not in force"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for (group, kind, types) in WATCHED {
            for resource in index.kind(group, kind) {
                let status = resource.tree().get("status");
                let parents = status.get("parents").items();
                let all = std::iter::once(status).chain(parents);
                for condition in all.flat_map(|owner| owner.get("conditions").items()) {
                    if is_negative(&condition, types) {
                        let text = format!(
                            "the condition {} says {}: {}",
                            condition.get("type").text(),
                            condition.get("reason").text(),
                            condition.get("message").text()
                        );
                        report.add(
                            &NEGATIVE_CONDITION,
                            resource,
                            condition.path.clone(),
                            text,
                            "mend what it names; until then the object is not, or not wholly, in force",
                        );
                    }
                }
            }
        }
    }
}

/// False where it ought to be true, or true for a part only.
fn is_negative(condition: &Tree<'_>, types: &[&str]) -> bool {
    let kind = condition.get("type").text();
    let partly = kind == "WaypointAccepted" && condition.get("reason").text() == "PartiallyInvalid";
    types.contains(&kind) && (condition.get("status").text() == "False" || partly)
}
