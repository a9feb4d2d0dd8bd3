//! Applications that run as the proxy's user, whose traffic capture lets pass.

use meltemi_api::FieldPath;

use crate::code::APPLICATION_UID;
use crate::injection::PROXY_CONTAINER;
use crate::workload::Workload;
use crate::{Analyzer, Index, Report};

/// User of the proxy (Istio's, and ours by capture's mark).
const PROXY_UID: i64 = 1337;

pub struct ApplicationUid;

impl Analyzer for ApplicationUid {
    fn name(&self) -> &'static str {
        "applicationUID.Analyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that no application runs as the sidecar's user"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let templates = ["Deployment", "StatefulSet"]
            .into_iter()
            .flat_map(|kind| index.kind("apps", kind))
            .map(Workload::of_template);
        for workload in index.kind("", "Pod").map(Workload::of_pod).chain(templates) {
            if let Some(field) = reserved_user(&workload) {
                report.add(
                    &APPLICATION_UID,
                    workload.resource,
                    field,
                    format!("the application runs as user {PROXY_UID}, which is the sidecar's: its traffic passes the mesh by"),
                    "use another runAsUser",
                );
            }
        }
    }
}

/// The field that makes an application run as the proxy's user.
fn reserved_user(workload: &Workload<'_>) -> Option<FieldPath> {
    let user = workload.spec.at(&["securityContext", "runAsUser"]);
    if user.number() == Some(PROXY_UID) {
        return Some(user.path);
    }
    workload
        .spec
        .get("containers")
        .items()
        .into_iter()
        .filter(|container| container.get("name").text() != PROXY_CONTAINER)
        .map(|container| container.at(&["securityContext", "runAsUser"]))
        .find(|user| user.number() == Some(PROXY_UID))
        .map(|user| user.path)
}
