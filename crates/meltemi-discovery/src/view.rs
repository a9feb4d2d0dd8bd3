//! What proxies that see the same have in common, kept from World to World: of what did not
//! change nothing is translated again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use meltemi_registry::Service;
use meltemi_xds::{Resource, ResourceSet};

use crate::issue::{Issue, Issues};
use crate::listener::HttpListener;
use crate::proxy::{Proxy, ProxyKind};
use crate::translate::{ShareKey, encode, encode_name_table};
use crate::world::World;
use crate::world::destination_rule::Rule;
use crate::world::scope::Scope;
use crate::{cluster, endpoint, listener, name_table, route};

/// A sidecar without what is its workload's alone. Sidecars with equal keys get equal clusters,
/// endpoints, routes and names of the services they see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ViewKey(Proxy);

impl ViewKey {
    /// `None` for a gateway: what it gets depends on all of it.
    pub fn of(world: &World, shared: &ShareKey) -> Option<Self> {
        let proxy = shared.proxy();
        if proxy.kind == ProxyKind::Gateway {
            return None;
        }
        let mut labels = proxy.labels.clone();
        labels.retain(|key, _| world.client_labels.contains(key));
        Some(Self(Proxy {
            labels,
            service_account: String::new(),
            workload_name: String::new(),
            cluster: String::new(),
            cluster_id: String::new(),
            mesh_id: String::new(),
            ..proxy.clone()
        }))
    }

    /// What the resources of a single service depend on.
    fn class(&self) -> Proxy {
        Proxy {
            namespace: String::new(),
            dns_domain: String::new(),
            ips: Vec::new(),
            discovers_hosts: false,
            loopback: None,
            ..self.0.clone()
        }
    }
}

/// Clusters and endpoints of one service, encoded.
#[derive(Debug)]
struct ServiceResources {
    common_since: u64,
    service: Arc<Service>,
    rule: Option<Arc<Rule>>,
    clusters: Vec<Resource>,
    endpoints: Vec<Resource>,
    issues: Vec<Issue>,
}

impl ServiceResources {
    fn translate(
        scope: &Scope<'_>,
        class: &Proxy,
        service: &Arc<Service>,
        rule: Option<&Arc<Rule>>,
    ) -> Self {
        let mut issues = Issues::default();
        let applied = rule.map(|rule| &**rule);
        let clusters = cluster::of_service(scope, class, service, applied, &mut issues);
        let endpoints = endpoint::of_service(scope.world, class, service, applied);
        Self {
            common_since: scope.world.common_since,
            service: service.clone(),
            rule: rule.cloned(),
            clusters: clusters.iter().map(|c| encode(&c.name, c)).collect(),
            endpoints: endpoints
                .iter()
                .map(|assignment| encode(&assignment.cluster_name, assignment))
                .collect(),
            issues: issues.into_vec(),
        }
    }

    fn is_of(&self, world: &World, service: &Arc<Service>, rule: Option<&Arc<Rule>>) -> bool {
        self.common_since == world.common_since
            && Arc::ptr_eq(&self.service, service)
            && match (&self.rule, rule) {
                (None, None) => true,
                (Some(own), Some(rule)) => Arc::ptr_eq(own, rule),
                _ => false,
            }
    }
}

/// The services' resources that views share. Holds what some view holds, and after a change
/// what one held before it.
#[derive(Debug, Default)]
pub struct ServiceCache(Mutex<HashMap<Proxy, Arc<Mutex<Class>>>>);

/// By host name: one for each service of that name and rule in force for it.
type Class = HashMap<Arc<str>, Vec<Arc<ServiceResources>>>;

impl ServiceCache {
    fn class(&self, class: &Proxy) -> Arc<Mutex<Class>> {
        let mut classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        classes.entry(class.clone()).or_default().clone()
    }

    /// Lets go of what no view holds.
    pub fn sweep(&self) {
        let mut classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        classes.retain(|_, class| {
            let mut class = class.lock().unwrap_or_else(PoisonError::into_inner);
            class.retain(|_, variants| {
                variants.retain(|resources| Arc::strong_count(resources) > 1);
                !variants.is_empty()
            });
            !class.is_empty()
        });
    }
}

/// The services that a kind of proxy sees, translated and encoded.
#[derive(Debug)]
pub struct View {
    shape_since: u64,
    frame_since: u64,
    /// The listeners whose routes these are, and what is to be said of them.
    http: (Vec<HttpListener>, Vec<Issue>),
    /// In order of host name.
    services: Vec<Arc<ServiceResources>>,
    pub clusters: ResourceSet,
    pub endpoints: ResourceSet,
    pub routes: Arc<route::Encoded>,
    pub names: ResourceSet,
    /// What of the objects in scope the proxies do not get.
    pub issues: Vec<Issue>,
}

impl View {
    /// Translates a World for all proxies of a key. The result depends on these alone; `before`,
    /// of the same key in an earlier World, and the cache only save work.
    pub fn new(world: &World, key: &ViewKey, before: Option<&Self>, cache: &ServiceCache) -> Self {
        let ViewKey(proxy) = key;
        let scope = Scope::new(world, proxy);
        let services = resources(&scope, &key.class(), cache);
        if let Some(before) = before
            && before.shape_since == world.shape_since
        {
            return before.with_endpoints(services);
        }
        let before = before.filter(|before| before.frame_since == world.frame_since);
        let frame = match before {
            Some(before) => before.with_endpoints(services),
            None => Self::frame(&scope, proxy, services),
        };
        let (http, found) = &frame.http;
        let routes = before
            .and_then(|before| before.routes.changed(&scope, proxy, http))
            .unwrap_or_else(|| route::Encoded::new(&scope, proxy, http));
        let mut issues = Issues::default();
        issues.extend(found.iter().cloned());
        for service in &frame.services {
            issues.extend(service.issues.iter().cloned());
        }
        issues.extend(routes.issues.iter().cloned());
        Self {
            shape_since: world.shape_since,
            routes: Arc::new(routes),
            issues: issues.into_vec(),
            ..frame
        }
    }

    /// Everything but the routes.
    fn frame(scope: &Scope<'_>, proxy: &Proxy, services: Vec<Arc<ServiceResources>>) -> Self {
        let mut issues = Issues::default();
        let http = listener::http(scope, proxy, &mut issues);
        let all = |part: fn(&ServiceResources) -> &Vec<Resource>| {
            services.iter().flat_map(|s| part(s)).cloned().collect()
        };
        Self {
            shape_since: scope.world.shape_since,
            frame_since: scope.world.frame_since,
            http: (http, issues.into_vec()),
            clusters: all(|service| &service.clusters),
            endpoints: all(|service| &service.endpoints),
            routes: Arc::default(),
            names: encode_name_table(&name_table::translate(scope)),
            issues: Vec::new(),
            services,
        }
    }

    /// The same with other endpoints.
    fn with_endpoints(&self, services: Vec<Arc<ServiceResources>>) -> Self {
        let changed: Vec<_> = services
            .iter()
            .zip(&self.services)
            .filter(|(now, before)| !Arc::ptr_eq(now, before))
            .map(|(now, _)| now)
            .collect();
        let part = |part: fn(&ServiceResources) -> &Vec<Resource>| {
            changed.iter().flat_map(move |s| part(s)).cloned()
        };
        Self {
            shape_since: self.shape_since,
            frame_since: self.frame_since,
            http: self.http.clone(),
            clusters: self.clusters.with(part(|service| &service.clusters)),
            endpoints: self.endpoints.with(part(|service| &service.endpoints)),
            routes: self.routes.clone(),
            names: self.names.clone(),
            issues: self.issues.clone(),
            services,
        }
    }
}

/// Of every service in scope; the same that another view has made already.
fn resources(scope: &Scope<'_>, class: &Proxy, cache: &ServiceCache) -> Vec<Arc<ServiceResources>> {
    let known = cache.class(class);
    // Held throughout: who waits finds everything made.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let of = |service: &&Arc<Service>| {
        let rule = scope.rule(service);
        let variants = known.entry(service.hostname.clone()).or_default();
        let found = variants
            .iter()
            .find(|resources| resources.is_of(scope.world, service, rule));
        found.cloned().unwrap_or_else(|| {
            let made = ServiceResources::translate(scope, class, service, rule);
            let made = Arc::new(made);
            variants.push(made.clone());
            made
        })
    };
    scope.services.values().map(of).collect()
}
