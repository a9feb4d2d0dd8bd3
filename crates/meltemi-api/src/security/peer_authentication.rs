//! PeerAuthentication: which connections a workload accepts.

use std::collections::BTreeMap;

use crate::proto::{enumeration, message, not_empty};
use crate::scope::LabelSelector;

message! {
    /// Mutual TLS demanded from clients (Istio: `PeerAuthentication`).
    pub struct PeerAuthentication {
        /// Workloads; the whole namespace (or mesh, in the root namespace) when absent.
        pub selector: Option<LabelSelector>,
        /// For all ports.
        pub mtls: Option<MutualTls>,
        /// For single workload ports, by number; not written when there are none.
        #[serde(deserialize_with = "not_empty")]
        pub port_level_mtls: BTreeMap<u16, MutualTls>,
    }

    /// Mutual TLS (Istio: `PeerAuthentication.MutualTLS`).
    pub struct MutualTls {
        /// Mode.
        pub mode: MutualTlsMode,
    }
}

enumeration! {
    /// Modes, inherited from the wider scope when UNSET.
    pub enum MutualTlsMode {
        /// Inherited.
        Unset = "UNSET",
        /// Plaintext only.
        Disable = "DISABLE",
        /// Both.
        Permissive = "PERMISSIVE",
        /// Mutual TLS only.
        Strict = "STRICT",
    }
}
