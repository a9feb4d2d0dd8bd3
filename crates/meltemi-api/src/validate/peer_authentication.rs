//! PeerAuthentication.

use super::attachment::label_selector;
use super::report::Report;
use crate::FieldPath;
use crate::security::PeerAuthentication;

pub(super) fn validate(spec: &PeerAuthentication, at: &FieldPath, report: &mut Report) {
    if let Some(selector) = &spec.selector {
        label_selector(selector, &at.field("selector"), report);
    }
    let labels = spec
        .selector
        .as_ref()
        .map(|selector| &selector.match_labels);
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
