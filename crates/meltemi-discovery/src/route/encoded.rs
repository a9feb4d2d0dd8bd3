//! A sidecar's outbound routes, encoded; after a change of few VirtualServices made of the former
//! ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use meltemi_api::ObjectKey;
use meltemi_xds::{Resource, ResourceSet};
use prost::Message;

use super::outbound::{self, Changed};
use super::{discovered, encode_hosts};
use crate::issue::{Issue, Issues};
use crate::listener::HttpListener;
use crate::pb::route::VirtualHost;
use crate::proxy::Proxy;
use crate::translate::{encode, set};
use crate::world::scope::Scope;
use crate::world::virtual_service::ResolvedVirtualService;

/// Outbound routes, and the VirtualServices that they are made of.
#[derive(Debug, Default)]
pub struct Encoded {
    pub routes: ResourceSet,
    /// Where the proxy discovers them.
    pub virtual_hosts: ResourceSet,
    pub issues: Vec<Issue>,
    virtual_services: Vec<Arc<ResolvedVirtualService>>,
}

impl Encoded {
    pub fn new(scope: &Scope<'_>, proxy: &Proxy, listeners: &[HttpListener]) -> Self {
        let mut issues = Issues::default();
        let mut routes = outbound::translate(scope, proxy, listeners, &mut issues);
        let hosts = discovered(proxy, &mut routes);
        Self {
            routes: set(&routes, |route| &route.name),
            virtual_hosts: encode_hosts(&hosts),
            issues: issues.into_vec(),
            virtual_services: scope.world.virtual_services.clone(),
        }
    }

    /// The same as [`Self::new`], in a World of the same frame, by translating only what changed;
    /// `None` where that is not known to be the same.
    pub fn changed(
        &self,
        scope: &Scope<'_>,
        proxy: &Proxy,
        listeners: &[HttpListener],
    ) -> Option<Self> {
        if !proxy.discovers_hosts {
            return None;
        }
        let all = &scope.world.virtual_services;
        // A frame has the same VirtualServices throughout, in the same order.
        let pairs = all.iter().zip(&self.virtual_services);
        let (same, changed): (Vec<_>, Vec<_>) =
            pairs.partition(|(now, before)| Arc::ptr_eq(now, before));
        let objects: BTreeSet<&ObjectKey> = changed
            .iter()
            .flat_map(|(now, before)| objects(now).chain(objects(before)))
            .collect();
        let mut others = same.iter().flat_map(|(now, _)| self::objects(now));
        if others.any(|object| objects.contains(object)) {
            return None;
        }
        let mut issues = Issues::default();
        let kept = self.issues.iter();
        issues.extend(
            kept.filter(|issue| !objects.contains(&issue.object))
                .cloned(),
        );
        let pairs: Vec<_> = changed
            .iter()
            .map(|(now, before)| Changed { before, now })
            .collect();
        let hosts = outbound::changed(scope, listeners, &pairs, &mut issues)?;
        let hosts: Option<Vec<Resource>> = hosts
            .into_iter()
            .map(|(route, host)| {
                let name = format!("{route}/{}", host.name);
                let domains = domains(self.virtual_hosts.get(&name)?)?;
                Some(encode(&name, &VirtualHost { domains, ..host }))
            })
            .collect();
        Some(Self {
            routes: self.routes.clone(),
            virtual_hosts: self.virtual_hosts.with(hosts?),
            issues: issues.into_vec(),
            virtual_services: all.clone(),
        })
    }
}

/// The objects that a VirtualService is made of.
fn objects(service: &ResolvedVirtualService) -> impl Iterator<Item = &ObjectKey> {
    let rules = service.rules.iter().map(|rule| &rule.object);
    std::iter::once(&service.key).chain(rules)
}

fn domains(resource: &Resource) -> Option<Vec<String>> {
    let any = prost_types::Any::decode(&*resource.any).ok()?;
    Some(VirtualHost::decode(&*any.value).ok()?.domains)
}
