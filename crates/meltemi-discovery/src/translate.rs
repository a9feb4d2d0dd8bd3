//! A proxy's whole configuration from a World: a pure function.

use std::collections::HashMap;
use std::sync::Arc;

use meltemi_registry::{Resolution, ServiceTarget};
use meltemi_xds::nds::NameTable;
use meltemi_xds::{Resource, ResourceSet, type_url};
use prost::{Message, Name};

use crate::issue::{Issue, Issues};
use crate::pb::{canonical, cluster, endpoint, listener, route, tls};
use crate::proxy::Proxy;
use crate::world::World;
use crate::world::scope::Scope;
use crate::{
    cluster as clusters, endpoint as endpoints, listener as listeners, name_table, route as routes,
    secret,
};

/// Everything that a proxy is served.
#[derive(Debug, Default)]
pub struct Resources {
    pub clusters: Vec<cluster::Cluster>,
    pub endpoints: Vec<endpoint::ClusterLoadAssignment>,
    pub listeners: Vec<listener::Listener>,
    pub routes: Vec<route::RouteConfiguration>,
    pub secrets: Vec<tls::Secret>,
    pub name_table: NameTable,
    /// What of the objects in scope this proxy does not get.
    pub issues: Vec<Issue>,
}

/// Translates a World for a proxy. No I/O, no clock, no locks; the same input gives equal
/// resources, which encode to the same bytes.
pub fn translate(world: &World, proxy: &Proxy) -> Resources {
    let scope = Scope::new(world, proxy);
    let targets = targets(world, proxy);
    let mut issues = Issues::default();
    let clusters = clusters::translate(&scope, proxy, &targets, &mut issues);
    let listeners = listeners::translate(&scope, proxy, &targets, &mut issues);
    let routes = routes::translate(&scope, proxy, &listeners, &mut issues);
    let secrets = secret::translate(&scope, proxy, &listeners.gateway, &mut issues);
    Resources {
        endpoints: endpoints::translate(&scope, proxy),
        name_table: name_table::translate(&scope),
        clusters,
        listeners: listeners.listeners,
        routes,
        secrets,
        issues: issues.into_vec(),
    }
}

/// What the proxy's workload serves.
pub fn targets(world: &World, proxy: &Proxy) -> Vec<ServiceTarget> {
    world
        .registry
        .targets(&proxy.namespace, &proxy.labels, &proxy.ips)
}

impl Resources {
    /// Encodes everything, by type URL; a type without resources has an empty set.
    pub fn encode(&self) -> HashMap<&'static str, ResourceSet> {
        HashMap::from([
            (
                type_url::CLUSTER,
                set(&self.clusters, |cluster| &cluster.name),
            ),
            (
                type_url::ENDPOINT,
                set(&self.endpoints, |endpoint| &endpoint.cluster_name),
            ),
            (
                type_url::LISTENER,
                set(&self.listeners, |listener| &listener.name),
            ),
            (type_url::ROUTE, set(&self.routes, |route| &route.name)),
            (type_url::SECRET, set(&self.secrets, |secret| &secret.name)),
            (
                type_url::NAME_TABLE,
                // One resource; istiod gives it no name, delta xDS wants one.
                ResourceSet::new(vec![encode(type_url::NAME_TABLE, &self.name_table)]),
            ),
        ])
    }
}

fn set<M: Message + Name>(messages: &[M], name: impl Fn(&M) -> &String) -> ResourceSet {
    messages
        .iter()
        .map(|message| encode(name(message), message))
        .collect()
}

fn encode<M: Message + Name>(name: &str, message: &M) -> Resource {
    Resource::from_value(name, &M::type_url(), canonical::encode(message).into())
}

/// Proxies with equal keys get equal resources from a World: replicas share one translation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShareKey {
    /// The proxy without what is its alone.
    proxy: Proxy,
    /// Service ports that lead to it: host, namespace, port, workload port.
    targets: Vec<(Arc<str>, String, u16, u16)>,
}

/// The key of a proxy in a World.
pub fn share_key(world: &World, proxy: &Proxy) -> ShareKey {
    let targets = targets(world, proxy);
    // A proxy that binds ports binds its own address; one that is part of a headless service
    // has no listener for itself.
    let by_address = !proxy.intercepts
        || proxy.loopback.is_some()
        || targets
            .iter()
            .any(|target| target.service.resolution == Resolution::Passthrough);
    ShareKey {
        proxy: Proxy {
            id: String::new(),
            pod: String::new(),
            ips: if by_address {
                proxy.ips.clone()
            } else {
                Vec::new()
            },
            ..proxy.clone()
        },
        targets: targets
            .into_iter()
            .map(|target| {
                (
                    target.service.hostname.clone(),
                    target.service.namespace.clone(),
                    target.port.number,
                    target.target_port,
                )
            })
            .collect(),
    }
}
