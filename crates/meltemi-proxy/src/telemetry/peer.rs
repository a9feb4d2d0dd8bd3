//! Who we are and who the peer is: Istio's workload metadata, exchanged in the headers
//! `x-envoy-peer-metadata` (base64 of a protobuf `Struct`) and `x-envoy-peer-metadata-id`.

use super::PeerInfo;
use crate::model::Workload;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use std::sync::{Arc, OnceLock};

/// Bound on an accepted metadata header, in bytes: a peer must not make us decode more.
const MAX_HEADER: usize = 8 * 1024;

/// This process's workload, from the node metadata.
pub struct Local {
    pub peer: PeerInfo,
    /// Value of `x-envoy-peer-metadata-id`.
    pub id: HeaderValue,
    /// Value of `x-envoy-peer-metadata`.
    pub metadata: HeaderValue,
}

static LOCAL: OnceLock<Local> = OnceLock::new();

/// Sets the workload that metrics report as their own; the first call counts.
pub fn set_local_workload(node_id: &str, peer: PeerInfo) {
    let metadata = STANDARD.encode(encode(&peer, node_id).encode_to_vec());
    let header = |text: &str| {
        HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    };
    let _ = LOCAL.set(Local {
        id: header(node_id),
        metadata: header(&metadata),
        peer,
    });
}

/// The own workload, once [`set_local_workload`] was called.
pub fn local() -> Option<&'static Local> {
    LOCAL.get()
}

/// Decodes a peer's `x-envoy-peer-metadata` value; `None` when it is not one.
pub fn decode(value: &HeaderValue) -> Option<Arc<PeerInfo>> {
    if value.len() > MAX_HEADER {
        return None;
    }
    let bytes = STANDARD.decode(value.as_bytes()).ok()?;
    let metadata = Struct::decode(bytes.as_slice()).ok()?;
    let text = |from: &Struct, key: &str| -> Box<str> {
        match from.fields.get(key).and_then(|value| value.kind.as_ref()) {
            Some(Kind::StringValue(text)) => text.as_str().into(),
            _ => "".into(),
        }
    };
    let empty = Struct::default();
    let labels = match metadata.fields.get("LABELS").and_then(|v| v.kind.as_ref()) {
        Some(Kind::StructValue(labels)) => labels,
        _ => &empty,
    };
    let name = text(&metadata, "WORKLOAD_NAME");
    let or = |first: Box<str>, second: Box<str>| if first.is_empty() { second } else { first };
    let app = text(labels, "app");
    let version = text(labels, "version");
    Some(Arc::new(PeerInfo {
        workload: Some(Workload {
            canonical_name: or(
                text(labels, "service.istio.io/canonical-name"),
                or(app.clone(), name.clone()),
            ),
            canonical_revision: or(
                text(labels, "service.istio.io/canonical-revision"),
                or(version.clone(), "latest".into()),
            ),
            name,
            namespace: text(&metadata, "NAMESPACE"),
            cluster: text(&metadata, "CLUSTER_ID"),
        }),
        app,
        version,
        principal: "".into(),
    }))
}

fn encode(peer: &PeerInfo, node_id: &str) -> Struct {
    let string = |text: &str| Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let mut labels = Struct::default();
    let mut metadata = Struct::default();
    let mut label = |key: &str, value: &str| {
        if !value.is_empty() {
            labels.fields.insert(key.to_owned(), string(value));
        }
    };
    label("app", &peer.app);
    label("version", &peer.version);
    if let Some(workload) = &peer.workload {
        label("service.istio.io/canonical-name", &workload.canonical_name);
        label(
            "service.istio.io/canonical-revision",
            &workload.canonical_revision,
        );
        for (key, value) in [
            ("CLUSTER_ID", &workload.cluster),
            ("NAMESPACE", &workload.namespace),
            ("WORKLOAD_NAME", &workload.name),
        ] {
            metadata.fields.insert(key.to_owned(), string(value));
        }
    }
    // node ids are `type~ip~pod.namespace~domain`
    if let Some(pod) = node_id.split('~').nth(2) {
        let pod = pod.split('.').next().unwrap_or(pod);
        metadata.fields.insert("NAME".to_owned(), string(pod));
    }
    metadata.fields.insert(
        "LABELS".to_owned(),
        Value {
            kind: Some(Kind::StructValue(labels)),
        },
    );
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reviews() -> PeerInfo {
        PeerInfo {
            workload: Some(Workload {
                name: "reviews-v2".into(),
                namespace: "default".into(),
                canonical_name: "reviews".into(),
                canonical_revision: "v2".into(),
                cluster: "Kubernetes".into(),
            }),
            app: "reviews".into(),
            version: "v2".into(),
            principal: "".into(),
        }
    }

    #[test]
    fn what_is_sent_is_understood() {
        let sent = encode(&reviews(), "sidecar~10.0.0.1~reviews-v2-0.default~x");
        let value = HeaderValue::from_str(&STANDARD.encode(sent.encode_to_vec())).unwrap();
        assert_eq!(*decode(&value).unwrap(), reviews());
    }

    #[test]
    fn rubbish_and_excess_are_refused() {
        for value in ["", "%%%", "AAAA", &"A".repeat(MAX_HEADER + 4)] {
            let value = HeaderValue::from_str(value).unwrap();
            if let Some(peer) = decode(&value) {
                assert!(peer.app.is_empty(), "{value:?} became {peer:?}");
            }
        }
        let long = HeaderValue::from_str(&"A".repeat(MAX_HEADER + 4)).unwrap();
        assert!(decode(&long).is_none());
    }
}
