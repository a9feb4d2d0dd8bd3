//! From Kubernetes' own routing kinds to Istio's, as istiod does it: Gateways and routes of the
//! Gateway API (`gateway_api`) and Ingresses (`ingress`) become Gateways and VirtualServices with
//! the names that Istio gives them, each part of which knows where it was written.
//!
//! Pure: objects in, objects, issues and `status` out. What cannot be honoured is an issue of the
//! object that says it, and a condition of its status.

mod gateway_api;
mod ingress;
mod issue;
mod services;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use meltemi_api::gateway_api::GROUP;
use meltemi_api::k8s::Secret;
use meltemi_api::{Kind, Meta, Object, ObjectKey, Typed};
use meltemi_registry::{Registry, Visibility};
use serde_json::Value;

use crate::issue::Issues;
use crate::world::gateway::ResolvedGateway;
use crate::world::mesh::Mesh;
use crate::world::virtual_service::ResolvedVirtualService;

/// What conversion looks references up in.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub domain: &'a str,
    pub mesh: &'a Mesh,
    pub registry: &'a Registry,
    pub secrets: &'a BTreeMap<(String, String), Arc<Secret>>,
    /// `ca.crt` of ConfigMaps.
    pub ca_certificates: &'a BTreeMap<(String, String), String>,
}

impl Place<'_> {
    /// A Service's host name.
    fn host(&self, name: &str, namespace: &str) -> String {
        format!("{name}.{namespace}.svc.{}", self.domain)
    }

    /// Who sees what was made in a namespace: MeshConfig says, as for VirtualServices.
    fn visibility(&self, namespace: &str) -> Visibility {
        let default = &self.mesh.config.default_virtual_service_export_to;
        Visibility::parse(default.iter().map(String::as_str), namespace)
    }
}

/// What was made.
#[derive(Default)]
pub struct Converted {
    pub gateways: Vec<ResolvedGateway>,
    pub virtual_services: Vec<Arc<ResolvedVirtualService>>,
    /// `status`, by object.
    pub statuses: BTreeMap<ObjectKey, Value>,
}

/// Converts what of the objects is to be converted.
pub fn convert<'a>(
    objects: impl IntoIterator<Item = &'a Object>,
    place: &Place<'_>,
    issues: &mut Issues,
) -> Converted {
    let objects: Vec<&Object> = objects.into_iter().filter(|o| concerns(o)).collect();
    let mut converted = Converted::default();
    if !objects.iter().any(|object| is_converted(object.meta.kind)) {
        return converted;
    }
    gateway_api::convert(&objects, place, &mut converted, issues);
    ingress::convert(&objects, place, &mut converted, issues);
    converted
}

/// Whether objects of a kind are converted.
fn is_converted(kind: Kind) -> bool {
    kind.group() == GROUP || matches!(kind, Kind::Ingress | Kind::IngressClass)
}

/// Whether conversion looks at an object itself: at what it converts, and at what that names and
/// the registry does not have.
fn concerns(object: &Object) -> bool {
    let kind = object.meta.kind;
    is_converted(kind) || matches!(kind, Kind::Namespace | Kind::ServiceEntry)
}

/// An object to convert.
struct Source<'a, T> {
    key: ObjectKey,
    meta: &'a Meta,
    spec: &'a T,
    /// Sortable; empty when unknown.
    created: String,
}

/// The objects of a kind, oldest first.
fn sources<'a, T: Typed + 'static>(objects: &[&'a Object]) -> Vec<Source<'a, T>> {
    let mut found: Vec<Source<'a, T>> = objects
        .iter()
        .copied()
        .filter_map(|object| {
            let created = object.meta.creation_timestamp;
            Some(Source {
                key: object.key(),
                meta: &object.meta,
                spec: T::of(&object.spec)?.as_ref(),
                created: created.map(|at| at.to_string()).unwrap_or_default(),
            })
        })
        .collect();
    found.sort_by(|a, b| {
        (&a.created, &a.key.namespace, &a.key.name).cmp(&(
            &b.created,
            &b.key.namespace,
            &b.key.name,
        ))
    });
    found
}
