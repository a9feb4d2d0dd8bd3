//! Services and their endpoints, from Kubernetes and Istio objects.
//!
//! [`Registry::build`] is a pure function: the same objects give the same registry, in whatever
//! order they come. It answers what exists; who may see it, and what is made of it for a proxy,
//! is discovery's business.

#![forbid(unsafe_code)]

mod address;
mod canonical;
mod endpoint;
mod instances;
mod kube;
mod pods;
mod problem;
mod protocol;
mod registry;
mod service;
mod service_entry;
mod settings;
mod targets;
mod visibility;

pub use address::Range16;
pub use canonical::{canonical_revision, canonical_service};
pub use endpoint::{Endpoint, Health, Locality, Target, Workload};
pub use instances::matches;
pub use pods::{Instance, Source};
pub use problem::Problem;
pub use protocol::Protocol;
pub use registry::Registry;
pub use service::{Port, Provider, Resolution, Service};
pub use settings::Settings;
pub use targets::ServiceTarget;
pub use visibility::Visibility;

use std::sync::Arc;

/// When an object was made, as sortable text; empty when it does not say.
fn created(meta: &meltemi_api::Meta) -> String {
    meta.creation_timestamp
        .map(|at| at.to_string())
        .unwrap_or_default()
}

/// Adds a port's endpoints in order of address, and their identities.
fn add_endpoints(service: &mut Service, port: u16, mut endpoints: Vec<Endpoint>) {
    endpoints.sort_by(|a, b| (&a.target, a.port).cmp(&(&b.target, b.port)));
    endpoints.dedup_by(|a, b| a.target == b.target && a.port == b.port);
    for endpoint in &endpoints {
        if !endpoint.workload.identity.is_empty() {
            service
                .identities
                .insert(endpoint.workload.identity.clone());
        }
    }
    if !endpoints.is_empty() {
        let endpoints = endpoints.into_iter().map(Arc::new).collect();
        service.endpoints.insert(port, endpoints);
    }
}
