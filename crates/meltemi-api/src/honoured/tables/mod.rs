//! The tables, one file a kind.

mod destination_rule;
mod gateway;
mod gateway_api;
mod ingress;
mod mesh_config;
mod plain;
mod pod;
mod service;
mod sidecar;
mod telemetry;
mod virtual_service;

use super::Table;
use crate::{FieldPath, Kind, Segment};

/// A kind's table.
pub(super) fn of(kind: Kind) -> Option<&'static Table> {
    Some(match kind {
        Kind::VirtualService => &virtual_service::TABLE,
        Kind::DestinationRule => &destination_rule::TABLE,
        Kind::Gateway => &gateway::TABLE,
        Kind::Sidecar => &sidecar::TABLE,
        Kind::MeshConfig => &mesh_config::TABLE,
        Kind::ServiceEntry | Kind::WorkloadEntry | Kind::PeerAuthentication => &plain::ALL,
        Kind::Telemetry => &telemetry::TABLE,
        Kind::WorkloadGroup => &plain::WORKLOAD_GROUP,
        Kind::Service => &service::SERVICE,
        Kind::Endpoints => &service::ENDPOINTS,
        Kind::EndpointSlice => &service::ENDPOINT_SLICE,
        Kind::Pod => &pod::POD,
        Kind::Deployment => &pod::DEPLOYMENT,
        Kind::StatefulSet => &pod::STATEFUL_SET,
        Kind::ServiceAccount => &plain::SERVICE_ACCOUNT,
        Kind::Namespace => &plain::NAMESPACE,
        Kind::ConfigMap => &plain::CONFIG_MAP,
        Kind::Secret => &plain::SECRET,
        Kind::Ingress => &ingress::INGRESS,
        Kind::IngressClass => &ingress::INGRESS_CLASS,
        Kind::GatewayClass => &gateway_api::GATEWAY_CLASS,
        Kind::KubernetesGateway => &gateway_api::GATEWAY,
        Kind::HttpRoute | Kind::GrpcRoute => &gateway_api::HTTP,
        Kind::TlsRoute | Kind::TcpRoute => &gateway_api::L4,
        Kind::ReferenceGrant => &plain::ALL,
        Kind::EnvoyFilter
        | Kind::MeshNetworks
        | Kind::ProxyConfig
        | Kind::RequestAuthentication
        | Kind::AuthorizationPolicy
        | Kind::WasmPlugin
        | Kind::TrafficExtension
        | Kind::UdpRoute
        | Kind::ListenerSet
        | Kind::BackendTlsPolicy => return None,
    })
}

/// Names that the tables of Kubernetes' kinds know next to a field, for "did you mean".
pub(super) fn siblings(parent: &FieldPath) -> Vec<String> {
    let mut pattern = String::new();
    for segment in &parent.0 {
        match segment {
            Segment::Index(_) => pattern.push_str("[]"),
            Segment::Field(name) => {
                if !pattern.is_empty() {
                    pattern.push('.');
                }
                pattern.push_str(name);
            }
        }
    }
    let prefix = if pattern.is_empty() {
        pattern
    } else {
        format!("{pattern}.")
    };
    let mut names: Vec<String> = Kind::ALL
        .into_iter()
        .filter(|kind| kind.is_kubernetes())
        .filter_map(of)
        .flat_map(|table| [table.honoured, table.except, table.harmless].concat())
        .filter_map(|path| path.strip_prefix(prefix.as_str()))
        .filter_map(|rest| rest.split(['.', '[']).next())
        .filter(|name| !name.is_empty() && *name != "{}")
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}
