//! Istio's rules for one object. Pure.

mod destination_rule;
mod gateway;
mod mesh_config;
mod names;
mod peer_authentication;
mod report;
mod service_entry;
mod sidecar;
mod virtual_service;
mod workload;

use report::Report;

use crate::{FieldPath, Finding, Object, Spec};

/// Findings about `object`: errors where Istio's webhook or its schema refuse it, warnings
/// where Istio warns.
pub fn validate(object: &Object) -> Vec<Finding> {
    let mut report = Report::default();
    let at = FieldPath::spec();
    match &object.spec {
        Spec::VirtualService(spec) => virtual_service::validate(spec, &at, &mut report),
        Spec::DestinationRule(spec) => destination_rule::validate(spec, &at, &mut report),
        Spec::Gateway(spec) => gateway::validate(spec, &at, &mut report),
        Spec::ServiceEntry(spec) => service_entry::validate(spec, &at, &mut report),
        Spec::WorkloadEntry(spec) => workload::entry(spec, &at, &mut report),
        Spec::WorkloadGroup(spec) => workload::group(spec, &at, &mut report),
        Spec::Sidecar(spec) => sidecar::validate(spec, &at, &mut report),
        Spec::PeerAuthentication(spec) => peer_authentication::validate(spec, &at, &mut report),
        Spec::MeshConfig(spec) => mesh_config::validate(spec, &at, &mut report),
        // Their types are all there is to check here.
        Spec::EnvoyFilter(_)
        | Spec::ProxyConfig(_)
        | Spec::RequestAuthentication(_)
        | Spec::AuthorizationPolicy(_)
        | Spec::Telemetry(_)
        | Spec::WasmPlugin(_)
        | Spec::TrafficExtension(_)
        | Spec::MeshNetworks(_)
        | Spec::Service(_)
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
