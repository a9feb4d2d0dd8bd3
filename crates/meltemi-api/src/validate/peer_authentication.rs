//! PeerAuthentication.

use super::report::Report;
use crate::FieldPath;
use crate::security::PeerAuthentication;

pub(super) fn validate(spec: &PeerAuthentication, at: &FieldPath, report: &mut Report) {
    let labels = spec
        .selector
        .as_ref()
        .map(|selector| &selector.match_labels);
    if let Some(labels) = labels {
        let at = at.field("selector");
        if labels.is_empty() {
            report.warning(
                &at,
                "has no labels: the policy applies to the whole namespace",
                "add matchLabels, or remove selector",
            );
        }
        report.selector(&at.field("matchLabels"), labels);
    }
    let at = at.field("portLevelMtls");
    if !spec.port_level_mtls.is_empty() && labels.is_none_or(|labels| labels.is_empty()) {
        report.error(
            &at,
            "ports belong to workloads, and the policy selects none",
            "add selector.matchLabels",
        );
    }
    if spec.port_level_mtls.contains_key(&0) {
        report.error(
            &at.field("0"),
            "port 0 is not in 1..65535",
            "name a port of the workload",
        );
    }
}
