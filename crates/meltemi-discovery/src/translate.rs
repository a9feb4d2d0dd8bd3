//! A proxy's whole configuration from a World: a pure function.

use std::collections::HashMap;
use std::net::IpAddr;
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
    /// Of routes that leave them to be discovered, by their names as resources.
    pub virtual_hosts: Vec<(String, route::VirtualHost)>,
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
    let mut clusters = clusters::translate(&scope, proxy, &targets, &mut issues);
    let mut endpoints = endpoints::translate(&scope, proxy);
    let listeners = listeners::translate(&scope, proxy, &targets, &mut issues);
    for service in listeners::passed_on(&scope, &listeners.gateway) {
        let rule = scope.rule(service).map(|rule| &**rule);
        clusters.extend(clusters::passed_on(&scope, proxy, service, rule));
        endpoints.extend(endpoints::passed_on(world, proxy, service, rule));
    }
    let mut routes = routes::translate(&scope, proxy, &listeners, &mut issues);
    let virtual_hosts = routes::discovered(proxy, &mut routes);
    let secrets = secret::translate(&scope, proxy, &listeners.gateway, &mut issues);
    Resources {
        endpoints,
        name_table: name_table::translate(&scope),
        clusters,
        listeners: listeners.listeners,
        routes,
        virtual_hosts,
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
            (
                type_url::VIRTUAL_HOST,
                routes::encode_hosts(&self.virtual_hosts),
            ),
            (type_url::SECRET, set(&self.secrets, |secret| &secret.name)),
            (type_url::NAME_TABLE, encode_name_table(&self.name_table)),
        ])
    }
}

pub(crate) fn set<M: Message + Name>(messages: &[M], name: impl Fn(&M) -> &String) -> ResourceSet {
    messages
        .iter()
        .map(|message| encode(name(message), message))
        .collect()
}

pub(crate) fn encode<M: Message + Name>(name: &str, message: &M) -> Resource {
    Resource::from_value(name, &M::type_url(), canonical::encode(message).into())
}

/// One resource; istiod gives it no name, delta xDS wants one.
pub(crate) fn encode_name_table(table: &NameTable) -> ResourceSet {
    ResourceSet::new(vec![encode(type_url::NAME_TABLE, table)])
}

/// What of a sidecar's configuration is its workload's alone, encoded: beside a [`View`] the
/// rest of it.
///
/// [`View`]: crate::view::View
#[derive(Debug)]
pub struct Own {
    pub clusters: ResourceSet,
    pub listeners: ResourceSet,
    pub secrets: ResourceSet,
    pub issues: Vec<Issue>,
}

impl Own {
    pub fn new(world: &World, proxy: &Proxy) -> Self {
        let scope = Scope::new(world, proxy);
        let targets = targets(world, proxy);
        let mut issues = Issues::default();
        let clusters = clusters::own(&scope, proxy, &targets, &mut issues);
        let listeners = listeners::translate(&scope, proxy, &targets, &mut issues);
        let secrets = secret::translate(&scope, proxy, &listeners.gateway, &mut issues);
        Self {
            clusters: set(&clusters, |cluster| &cluster.name),
            listeners: set(&listeners.listeners, |listener| &listener.name),
            secrets: set(&secrets, |secret| &secret.name),
            issues: issues.into_vec(),
        }
    }
}

/// Proxies with equal keys get equal resources from a World: replicas share one translation.
/// With an equal key in a later World of the same frame, what is a workload's own is equal too.
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
    ShareKey {
        proxy: Proxy {
            id: String::new(),
            pod: String::new(),
            ips: own_addresses(proxy, &targets),
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

impl ShareKey {
    /// The proxy without what no resource depends on.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}

/// The addresses of a proxy that binds ports, which are its own, or is part of a headless
/// service, as it has no listener for itself; of others they change nothing.
fn own_addresses(proxy: &Proxy, targets: &[ServiceTarget]) -> Vec<IpAddr> {
    let by_address = !proxy.intercepts
        || proxy.loopback.is_some()
        || targets
            .iter()
            .any(|target| target.service.resolution == Resolution::Passthrough);
    if by_address {
        proxy.ips.clone()
    } else {
        Vec::new()
    }
}
