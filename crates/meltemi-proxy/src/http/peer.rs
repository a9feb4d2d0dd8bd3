//! Istio's exchange of workload metadata in headers, for metrics that name both sides.

use super::names;
use crate::telemetry::{PeerInfo, peer};
use http::{HeaderMap, HeaderValue};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Decoded peers that a worker remembers: a value repeats with every request of a peer.
const MAX_KNOWN: usize = 256;

thread_local! {
    static KNOWN: RefCell<HashMap<HeaderValue, Option<Arc<PeerInfo>>>> = RefCell::default();
}

/// Takes the peer's metadata out of the headers.
pub(crate) fn take(headers: &mut HeaderMap) -> Option<Arc<PeerInfo>> {
    headers.remove(&names::X_ENVOY_PEER_METADATA_ID);
    let value = headers.remove(&names::X_ENVOY_PEER_METADATA)?;
    KNOWN.with_borrow_mut(|known| {
        if let Some(peer) = known.get(&value) {
            return peer.clone();
        }
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let decoded = peer::decode(&value);
        known.insert(value, decoded.clone());
        decoded
    })
}

/// Tells the peer who we are.
pub(crate) fn put(headers: &mut HeaderMap) {
    if let Some(local) = peer::local() {
        headers.insert(names::X_ENVOY_PEER_METADATA_ID.clone(), local.id.clone());
        headers.insert(names::X_ENVOY_PEER_METADATA.clone(), local.metadata.clone());
    }
}
