//! What the bootstrap's node says about the workload.

use crate::bootstrap::Bootstrap;
use crate::dns::Zone;
use crate::model::Workload;
use crate::telemetry::PeerInfo;
use envoy_types::pb::google::protobuf::{Struct, value::Kind};

/// Who the workload is, for metrics and for peers.
pub(crate) fn peer_info(bootstrap: &Bootstrap) -> PeerInfo {
    let metadata = bootstrap.node.metadata.clone().unwrap_or_default();
    let labels = match metadata
        .fields
        .get("LABELS")
        .and_then(|value| value.kind.as_ref())
    {
        Some(Kind::StructValue(labels)) => labels.clone(),
        _ => Struct::default(),
    };
    let name = text(&metadata, "WORKLOAD_NAME");
    let (app, version) = (text(&labels, "app"), text(&labels, "version"));
    let first = |candidates: [&str; 3]| -> Box<str> {
        candidates
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default()
            .into()
    };
    PeerInfo {
        workload: Some(Workload {
            canonical_name: first([text(&labels, "service.istio.io/canonical-name"), app, name]),
            canonical_revision: first([
                text(&labels, "service.istio.io/canonical-revision"),
                version,
                "latest",
            ]),
            name: name.into(),
            namespace: text(&metadata, "NAMESPACE").into(),
            cluster: text(&metadata, "CLUSTER_ID").into(),
        }),
        app: app.into(),
        version: version.into(),
        principal: "".into(),
    }
}

/// Where short names are looked up. A node's id ends with its DNS domain:
/// `sidecar~IP~POD.NAMESPACE~NAMESPACE.svc.DOMAIN`.
pub(crate) fn zone(bootstrap: &Bootstrap) -> Zone {
    let mut zone = Zone::default();
    if let Some(namespace) = bootstrap.metadata("NAMESPACE") {
        zone.namespace = namespace.to_owned();
    }
    let domain = bootstrap
        .node
        .id
        .split('~')
        .nth(3)
        .and_then(|domain| domain.split_once(".svc."));
    if let Some((namespace, domain)) = domain {
        if bootstrap.metadata("NAMESPACE").is_none() {
            zone.namespace = namespace.to_owned();
        }
        zone.domain = domain.to_ascii_lowercase();
    }
    zone
}

fn text<'a>(from: &'a Struct, key: &str) -> &'a str {
    match from.fields.get(key).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text,
        _ => "",
    }
}
