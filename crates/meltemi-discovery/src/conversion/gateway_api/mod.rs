//! The Gateway API.

mod backends;
mod filters;
mod gateways;
mod grants;
mod grpc;
mod http;
mod l4;
mod listeners;
mod parents;
mod routes;
mod selector;
mod tls;
mod virtual_services;

use std::collections::BTreeMap;

use meltemi_api::gateway_api::ReferenceGrant;
use meltemi_api::networking::ServiceEntry;
use meltemi_api::{Object, Spec};
use meltemi_registry::{ServiceTarget, Workload};

use super::{Converted, Place, Source, sources};
use crate::issue::Issues;
use grants::Grants;
use virtual_services::VirtualServices;

/// What the kinds' conversions share.
struct Context<'a> {
    place: &'a Place<'a>,
    grants: Grants<'a>,
    /// All namespaces that are declared or that objects to convert are in, and the labels of those that are declared.
    namespaces: BTreeMap<&'a str, Option<&'a BTreeMap<String, String>>>,
    entries: Vec<Source<'a, ServiceEntry>>,
    /// Workloads that are gateways, and the services that lead to them.
    workloads: Vec<(&'a Workload, Vec<ServiceTarget>)>,
}

impl<'a> Context<'a> {
    fn new(objects: &[&'a Object], place: &'a Place<'_>) -> Self {
        let mut namespaces = BTreeMap::new();
        for object in objects.iter().copied() {
            let meta = &object.meta;
            match &object.spec {
                Spec::Namespace(_) => {
                    namespaces.insert(meta.name.as_str(), Some(&meta.labels));
                }
                _ if meta.namespace.is_empty() => {}
                _ => {
                    namespaces.entry(meta.namespace.as_str()).or_insert(None);
                }
            }
        }
        let registry = place.registry;
        let gateways = registry.instances().filter(|instance| instance.gateway);
        Self {
            place,
            grants: Grants::new(sources::<ReferenceGrant>(objects)),
            namespaces,
            entries: sources(objects),
            workloads: gateways
                .map(|instance| {
                    let workload = &*instance.workload;
                    let ips: Vec<_> = instance.ips().collect();
                    let (namespace, labels) = (&workload.namespace, &workload.labels);
                    (workload, registry.targets(namespace, labels, &ips))
                })
                .collect(),
        }
    }
}

pub(super) fn convert<'a>(
    objects: &[&'a Object],
    place: &'a Place<'_>,
    converted: &mut Converted,
    issues: &mut Issues,
) {
    let context = Context::new(objects, place);
    let mut gateways = gateways::convert(&context, objects, converted, issues);
    let mut services = VirtualServices::default();
    routes::convert(
        &context,
        objects,
        &mut gateways,
        &mut services,
        converted,
        issues,
    );
    converted.virtual_services.extend(services.finish(place));
    gateways.report(converted);
}
