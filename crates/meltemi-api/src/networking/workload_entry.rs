//! WorkloadEntry: one workload that is not a Pod.

use std::collections::BTreeMap;

use crate::proto::message;

message! {
    /// A workload (Istio: `WorkloadEntry`); also an endpoint of a ServiceEntry.
    pub struct WorkloadEntry {
        /// IP address, DNS name or `unix://` path.
        pub address: String,
        /// Port name to number, where it differs from the service's.
        pub ports: BTreeMap<String, u32>,
        /// Labels.
        pub labels: BTreeMap<String, String>,
        /// Network; the same as the client's when empty.
        pub network: String,
        /// `region/zone/subzone`.
        pub locality: String,
        /// Share relative to the other endpoints; 0 counts as 1.
        pub weight: u32,
        /// Service account, the identity it proves.
        pub service_account: String,
    }
}
