//! Istio's rules for one object. Pure.

mod attachment;
mod authorization_policy;
mod destination_rule;
mod envoy_filter;
mod extensions;
mod gateway;
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
mod virtual_service;
mod workload;

use report::Report;

use crate::{FieldPath, Finding, Kind, Meta, Object, Spec};

/// Findings about `object`: errors where Istio's webhook or its schema refuse it, warnings
/// where Istio warns.
pub fn validate(object: &Object) -> Vec<Finding> {
    let mut report = Report::default();
    let at = FieldPath::spec();
    dry_run(&object.meta, &mut report);
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

/// Only AuthorizationPolicies can be tried out.
fn dry_run(meta: &Meta, report: &mut Report) {
    const NAME: &str = authorization_policy::DRY_RUN;
    if !meta.kind.is_kubernetes()
        && meta.kind != Kind::AuthorizationPolicy
        && meta.annotations.contains_key(NAME)
    {
        let message = format!("a {} cannot be tried out", meta.kind);
        report.error(&annotation(NAME), message, "remove the annotation");
    }
}

fn annotation(name: &str) -> FieldPath {
    FieldPath::root()
        .field("metadata")
        .field("annotations")
        .field(name)
}

/// What Go's `strconv.ParseBool` reads.
fn is_bool(text: &str) -> bool {
    [
        "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False",
    ]
    .contains(&text)
}
