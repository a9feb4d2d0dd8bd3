//! From a Rust type to its kind: what makes typed iteration over objects possible.

use std::sync::Arc;

use crate::extensions::{TrafficExtension, WasmPlugin};
use crate::mesh::{MeshConfig, MeshNetworks};
use crate::networking::{
    DestinationRule, EnvoyFilter, Gateway, ProxyConfig, ServiceEntry, Sidecar, VirtualService,
    WorkloadEntry, WorkloadGroup,
};
use crate::security::{AuthorizationPolicy, PeerAuthentication, RequestAuthentication};
use crate::telemetry::Telemetry;
use crate::{Kind, Spec, gateway_api, k8s};

/// A type that is the content of one kind.
pub trait Typed: Sized {
    /// Its kind.
    const KIND: Kind;

    /// The content, when `spec` is of this kind.
    fn of(spec: &Spec) -> Option<&Arc<Self>>;
}

macro_rules! typed {
    ($($kind:ident: $ty:ty),* $(,)?) => { $(
        impl Typed for $ty {
            const KIND: Kind = Kind::$kind;

            fn of(spec: &Spec) -> Option<&Arc<Self>> {
                match spec {
                    Spec::$kind(content) => Some(content),
                    _ => None,
                }
            }
        }
    )* };
}

typed! {
    VirtualService: VirtualService,
    DestinationRule: DestinationRule,
    Gateway: Gateway,
    ServiceEntry: ServiceEntry,
    WorkloadEntry: WorkloadEntry,
    WorkloadGroup: WorkloadGroup,
    Sidecar: Sidecar,
    EnvoyFilter: EnvoyFilter,
    ProxyConfig: ProxyConfig,
    PeerAuthentication: PeerAuthentication,
    RequestAuthentication: RequestAuthentication,
    AuthorizationPolicy: AuthorizationPolicy,
    Telemetry: Telemetry,
    WasmPlugin: WasmPlugin,
    TrafficExtension: TrafficExtension,
    MeshConfig: MeshConfig,
    MeshNetworks: MeshNetworks,
    Service: k8s::Service,
    Endpoints: k8s::Endpoints,
    EndpointSlice: k8s::EndpointSlice,
    Pod: k8s::Pod,
    Deployment: k8s::Deployment,
    StatefulSet: k8s::StatefulSet,
    ServiceAccount: k8s::ServiceAccount,
    Namespace: k8s::Namespace,
    ConfigMap: k8s::ConfigMap,
    Secret: k8s::Secret,
    Ingress: k8s::Ingress,
    IngressClass: k8s::IngressClass,
    GatewayClass: gateway_api::GatewayClass,
    KubernetesGateway: gateway_api::Gateway,
    HttpRoute: gateway_api::HttpRoute,
    GrpcRoute: gateway_api::GrpcRoute,
    TlsRoute: gateway_api::TlsRoute,
    TcpRoute: gateway_api::TcpRoute,
    ReferenceGrant: gateway_api::ReferenceGrant,
}
