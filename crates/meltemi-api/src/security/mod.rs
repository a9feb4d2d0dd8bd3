//! The kinds of `security.istio.io` that are honoured, and the selector Istio's `type` package
//! shares between kinds.

mod peer_authentication;

pub use peer_authentication::{MutualTls, MutualTlsMode, PeerAuthentication};

use std::collections::BTreeMap;

use crate::proto::message;

message! {
    /// Workloads by exact labels (Istio type: `WorkloadSelector`).
    pub struct LabelSelector {
        /// All of them must be on the workload.
        pub match_labels: BTreeMap<String, String>,
    }
}
