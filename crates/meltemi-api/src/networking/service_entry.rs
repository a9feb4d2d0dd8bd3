//! ServiceEntry: services that are not in the platform's registry.

use super::{WorkloadEntry, WorkloadSelector};
use crate::proto::{enumeration, message};

message! {
    /// A service added to the registry (Istio: `ServiceEntry`).
    pub struct ServiceEntry {
        /// Names; wildcards allowed with NONE and DYNAMIC_DNS.
        pub hosts: Vec<String>,
        /// Virtual addresses or CIDRs.
        pub addresses: Vec<String>,
        /// Ports.
        pub ports: Vec<ServicePort>,
        /// Inside or outside of the mesh.
        pub location: ServiceLocation,
        /// How endpoints are found.
        pub resolution: ServiceResolution,
        /// Endpoints; excludes `workloadSelector`.
        pub endpoints: Vec<WorkloadEntry>,
        /// Endpoints by labels, WorkloadEntries and Pods; excludes `endpoints`.
        pub workload_selector: Option<WorkloadSelector>,
        /// Namespaces that see it.
        pub export_to: Vec<String>,
        /// Names, one of which the server's certificate must have.
        pub subject_alt_names: Vec<String>,
    }

    /// A port of a ServiceEntry (Istio: `ServicePort`).
    pub struct ServicePort {
        /// 1 to 65535.
        pub number: u32,
        /// HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP, TLS; sniffed when empty.
        pub protocol: String,
        /// Unique name.
        pub name: String,
        /// Port of the endpoints; `number` when 0.
        pub target_port: u32,
    }
}

enumeration! {
    /// Whether a service is part of the mesh.
    pub enum ServiceLocation {
        /// Outside: no mTLS by default.
        MeshExternal = "MESH_EXTERNAL",
        /// Inside.
        MeshInternal = "MESH_INTERNAL",
    }

    /// How a service's endpoints are found.
    pub enum ServiceResolution {
        /// Already resolved: the connection's own destination address.
        None = "NONE",
        /// The listed addresses.
        Static = "STATIC",
        /// The names are resolved, all addresses are used.
        Dns = "DNS",
        /// The names are resolved, one address at a time is used.
        DnsRoundRobin = "DNS_ROUND_ROBIN",
        /// The requested name is resolved when asked for.
        DynamicDns = "DYNAMIC_DNS",
    }
}
