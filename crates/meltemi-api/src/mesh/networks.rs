//! MeshNetworks: which endpoints are in which network, and how one network is entered from
//! another. It is written as text into Istio's ConfigMap, where protobuf's own field names are
//! read as well as the camel-case ones.

use std::collections::BTreeMap;

use crate::proto::message;

message! {
    /// Networks by name (Istio: `MeshNetworks`).
    pub struct MeshNetworks {
        /// Networks.
        pub networks: BTreeMap<String, Network>,
    }

    /// A network (Istio: `Network`).
    pub struct Network {
        /// Which endpoints are in it.
        pub endpoints: Vec<NetworkEndpoints>,
        /// How it is entered.
        pub gateways: Vec<NetworkGateway>,
    }

    /// Endpoints: one of the two (Istio: `Network.NetworkEndpoints`).
    pub struct NetworkEndpoints {
        /// By address range.
        #[serde(alias = "from_cidr")]
        pub from_cidr: Option<String>,
        /// All of one cluster's registry.
        #[serde(alias = "from_registry")]
        pub from_registry: Option<String>,
    }

    /// A gateway: one of registryServiceName and address (Istio:
    /// `Network.IstioNetworkGateway`).
    pub struct NetworkGateway {
        /// Service, fully qualified.
        #[serde(alias = "registry_service_name")]
        pub registry_service_name: Option<String>,
        /// Address or name.
        pub address: Option<String>,
        /// Port.
        pub port: u32,
        /// Locality, `region/zone`.
        pub locality: String,
    }
}
