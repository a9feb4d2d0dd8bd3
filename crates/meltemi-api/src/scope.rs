//! Which workloads an object is for, and which of their traffic: what Istio's `type` package
//! shares between kinds.

use std::collections::BTreeMap;

use crate::proto::{enumeration, message};

message! {
    /// Workloads by exact labels (Istio type: `WorkloadSelector`).
    pub struct LabelSelector {
        /// All of them must be on the workload.
        pub match_labels: BTreeMap<String, String>,
    }

    /// An object that a policy is attached to (Istio type: `PolicyTargetReference`).
    pub struct PolicyTargetReference {
        /// API group; empty is Kubernetes' core.
        pub group: String,
        /// Kind: Gateway, GatewayClass, Service or ServiceEntry.
        pub kind: String,
        /// Name.
        pub name: String,
        /// Must be empty: a policy is attached within its own namespace.
        pub namespace: String,
    }
}

enumeration! {
    /// On which side of a connection something applies (Istio type: `WorkloadMode`, where the
    /// default is called UNDEFINED and means both).
    pub enum WorkloadMode {
        /// Both sides.
        Undefined = "UNDEFINED",
        /// The workload is the client.
        Client = "CLIENT",
        /// The workload is the server.
        Server = "SERVER",
        /// Both sides.
        ClientAndServer = "CLIENT_AND_SERVER",
    }
}
