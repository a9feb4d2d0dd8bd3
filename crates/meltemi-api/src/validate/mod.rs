//! Istio's rules for one object. Pure.

mod attachment;
mod authorization_policy;
mod destination_rule;
mod dry_run;
mod envoy_filter;
mod extensions;
mod gateway;
mod gateway_api;
mod ingress;
mod mesh_config;
mod mesh_networks;
mod names;
mod peer_authentication;
mod proxy_config;
mod report;
mod request_authentication;
mod service_entry;
mod sidecar;
mod telemetry;
mod tls;
mod virtual_service;
mod workload;

pub use dry_run::is_bool;
pub use tls::{
    COMMON_CIPHER_SUITES, COMMON_CURVES, ENVOY_CURVES, allowed_cipher_suites, allowed_curves,
};

use report::Report;

use crate::{FieldPath, Finding, Object, Spec};

/// Findings about `object`: errors where Istio's webhook or its schema refuse it, warnings
/// where Istio warns.
pub fn validate(object: &Object) -> Vec<Finding> {
    let mut report = Report::default();
    let at = FieldPath::spec();
    dry_run::of_others(&object.meta, &mut report);
    match &object.spec {
        Spec::VirtualService(spec) => virtual_service::validate(spec, &at, &mut report),
        Spec::DestinationRule(spec) => destination_rule::validate(spec, &at, &mut report),
        Spec::Gateway(spec) => gateway::validate(spec, &at, &mut report),
        Spec::ServiceEntry(spec) => service_entry::validate(spec, &at, &mut report),
        Spec::WorkloadEntry(spec) => workload::entry(spec, &at, &mut report),
        Spec::WorkloadGroup(spec) => workload::group(spec, &at, &mut report),
        Spec::Sidecar(spec) => {
            sidecar::validate(spec, &object.meta.namespace, &at, &mut report);
        }
        Spec::PeerAuthentication(spec) => peer_authentication::validate(spec, &at, &mut report),
        Spec::EnvoyFilter(spec) => envoy_filter::validate(spec, &at, &mut report),
        Spec::ProxyConfig(spec) => proxy_config::validate(spec, &at, &mut report),
        Spec::RequestAuthentication(spec) => {
            request_authentication::validate(spec, &at, &mut report);
        }
        Spec::AuthorizationPolicy(spec) => {
            authorization_policy::validate(spec, &object.meta, &at, &mut report);
        }
        Spec::Telemetry(spec) => telemetry::validate(spec, &at, &mut report),
        Spec::WasmPlugin(spec) => extensions::wasm_plugin(spec, &at, &mut report),
        Spec::TrafficExtension(spec) => extensions::traffic_extension(spec, &at, &mut report),
        Spec::MeshConfig(spec) => mesh_config::validate(spec, &at, &mut report),
        Spec::MeshNetworks(spec) => mesh_networks::validate(spec, &at, &mut report),
        Spec::GatewayClass(spec) => gateway_api::class(spec, &at, &mut report),
        Spec::KubernetesGateway(spec) => gateway_api::gateway(spec, &at, &mut report),
        Spec::HttpRoute(spec) => gateway_api::http_route(spec, &at, &mut report),
        Spec::GrpcRoute(spec) => gateway_api::grpc_route(spec, &at, &mut report),
        Spec::TlsRoute(spec) => gateway_api::tls_route(spec, &object.meta, &at, &mut report),
        Spec::TcpRoute(spec) => gateway_api::tcp_route(spec, &at, &mut report),
        Spec::ReferenceGrant(spec) => gateway_api::reference_grant(spec, &at, &mut report),
        Spec::Ingress(object) => ingress::validate(object, &at, &mut report),
        Spec::IngressClass(object) => ingress::class(object, &at, &mut report),
        // The API server's own kinds: their types are all there is to check here.
        Spec::Service(_)
        | Spec::Endpoints(_)
        | Spec::EndpointSlice(_)
        | Spec::Pod(_)
        | Spec::Deployment(_)
        | Spec::StatefulSet(_)
        | Spec::ServiceAccount(_)
        | Spec::Namespace(_)
        | Spec::ConfigMap(_)
        | Spec::Secret(_)
        | Spec::Unsupported(_) => {}
    }
    report.0
}
