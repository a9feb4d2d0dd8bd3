//! Istio's canonical service: what telemetry calls a workload's application, by its labels.

use std::collections::BTreeMap;

/// The service's name, where a label gives one.
pub fn canonical_service(labels: &BTreeMap<String, String>) -> Option<&str> {
    first(
        labels,
        [
            "service.istio.io/canonical-name",
            "app.kubernetes.io/name",
            "app",
        ],
    )
}

/// Its revision, where a label gives one.
pub fn canonical_revision(labels: &BTreeMap<String, String>) -> Option<&str> {
    first(
        labels,
        [
            "service.istio.io/canonical-revision",
            "app.kubernetes.io/version",
            "version",
        ],
    )
}

fn first<'a>(labels: &'a BTreeMap<String, String>, keys: [&str; 3]) -> Option<&'a str> {
    keys.into_iter()
        .find_map(|key| labels.get(key))
        .map(String::as_str)
}
