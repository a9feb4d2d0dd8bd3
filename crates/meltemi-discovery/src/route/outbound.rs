//! A sidecar's route configurations: one a port, one more for each service whose protocol is
//! not declared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use meltemi_registry::{Protocol, Provider, Service};

use super::http_route::{self, Context};
use super::{hash, matching, retry};
use crate::hosts;
use crate::issue::Issues;
use crate::listener::HttpListener;
use crate::names as cluster_names;
use crate::pb::{self, route};
use crate::proxy::Proxy;
use crate::world::destination_rule;
use crate::world::mesh::OutboundPolicy;
use crate::world::scope::{Egress, Scope};
use crate::world::virtual_service::{MESH, ResolvedVirtualService};

pub fn translate(
    scope: &Scope<'_>,
    proxy: &Proxy,
    listeners: &[HttpListener],
    issues: &mut Issues,
) -> Vec<route::RouteConfiguration> {
    let mut seen = BTreeSet::new();
    listeners
        .iter()
        .filter(|listener| seen.insert(&listener.route_name))
        .map(|listener| {
            let egress = &scope.egress[listener.egress];
            let virtual_hosts = match &listener.service {
                Some(host) => own_virtual_host(scope, egress, host, listener.port, issues),
                None => shared(scope, proxy, egress, listener.port, issues),
            };
            super::configuration(&listener.route_name, virtual_hosts)
        })
        .collect()
}

/// A VirtualService that does something else with the HTTP requests to its hosts than before.
#[derive(Clone, Copy)]
pub struct Changed<'a> {
    pub before: &'a ResolvedVirtualService,
    pub now: &'a ResolvedVirtualService,
}

/// The virtual hosts for which changed VirtualServices may decide, each with the name of its
/// route configuration and without its domains, which stay. `None` where other virtual hosts than
/// before may result. Beside these VirtualServices nothing may be different.
pub fn changed(
    scope: &Scope<'_>,
    listeners: &[HttpListener],
    all: &[Changed<'_>],
    issues: &mut Issues,
) -> Option<Vec<(String, route::VirtualHost)>> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for listener in listeners {
        if !seen.insert(&listener.route_name) {
            continue;
        }
        let port = listener.port;
        let egress = &scope.egress[listener.egress];
        let mut routes = Routes::new(scope, egress, port);
        let services: Vec<&Service> = match &listener.service {
            Some(host) => service_named(egress, host).into_iter().collect(),
            None => services_at(egress, port),
        };
        let mut affected: BTreeMap<&str, &Service> = BTreeMap::new();
        for (position, virtual_service) in egress.virtual_services.iter().enumerate() {
            let same = |changed: &&Changed<'_>| std::ptr::eq(changed.now, &***virtual_service);
            let Some(Changed { before, now }) = all.iter().find(same).copied() else {
                continue;
            };
            let is_empty = |service| {
                let context = Context {
                    scope,
                    service,
                    port,
                    gateway: MESH,
                };
                http_route::translate(context, &mut Issues::default()).is_empty()
            };
            if is_empty(before) != is_empty(now) {
                return None;
            }
            let covered = services.iter().filter(|service| {
                let mut patterns = now.spec.hosts.iter();
                patterns.any(|pattern| hosts::covers(pattern, &service.hostname))
            });
            affected.extend(covered.map(|service| (&*service.hostname, *service)));
            if listener.service.is_some() {
                continue;
            }
            for host in routes.bare_hosts(position, &services) {
                if routes.by_host.get(host).is_none_or(|of| of.len() > 1) {
                    return None;
                }
                let routed = routes.of(position, issues).to_vec();
                if !routed.is_empty() {
                    let host = virtual_host(host, port, Vec::new(), routed);
                    found.push((listener.route_name.clone(), host));
                }
            }
        }
        for (host, service) in affected {
            let routed = routes.of_service(service, issues);
            let host = virtual_host(host, port, Vec::new(), routed);
            found.push((listener.route_name.clone(), host));
        }
    }
    Some(found)
}

/// The virtual hosts of all services and routes at a port.
fn shared(
    scope: &Scope<'_>,
    proxy: &Proxy,
    egress: &Egress<'_>,
    port: u16,
    issues: &mut Issues,
) -> Vec<route::VirtualHost> {
    let services = services_at(egress, port);
    let mut routes = Routes::new(scope, egress, port);
    let mut hosts = VirtualHosts::default();
    for service in &services {
        let routed = routes.of_service(service, issues);
        hosts.add(virtual_host(
            &service.hostname,
            port,
            domains(scope, service, proxy),
            routed,
        ));
    }
    for position in 0..egress.virtual_services.len() {
        let bare = routes.bare_hosts(position, &services);
        if bare.is_empty() {
            continue;
        }
        let routed = routes.of(position, issues).to_vec();
        if routed.is_empty() {
            continue;
        }
        for host in bare {
            hosts.add(virtual_host(
                host,
                port,
                vec![host.to_owned()],
                routed.clone(),
            ));
        }
    }
    let mut list = hosts.list;
    list.sort_by(|a, b| a.name.cmp(&b.name));
    list.push(fallback(scope.outbound_policy));
    list
}

/// The routes of an egress listener's VirtualServices at a port, translated when first needed.
struct Routes<'a, 'w> {
    scope: &'a Scope<'w>,
    egress: &'a Egress<'w>,
    port: u16,
    /// Positions of the VirtualServices that name a host, and of those with a wildcard.
    by_host: HashMap<&'w str, Vec<usize>>,
    wildcard: Vec<usize>,
    translated: BTreeMap<usize, Vec<route::Route>>,
}

impl<'a, 'w> Routes<'a, 'w> {
    fn new(scope: &'a Scope<'w>, egress: &'a Egress<'w>, port: u16) -> Self {
        let mut routes = Self {
            scope,
            egress,
            port,
            by_host: HashMap::new(),
            wildcard: Vec::new(),
            translated: BTreeMap::new(),
        };
        for (position, virtual_service) in egress.virtual_services.iter().enumerate() {
            let hosts = &virtual_service.spec.hosts;
            if hosts.iter().any(|host| host.starts_with('*')) {
                routes.wildcard.push(position);
            }
            for host in hosts {
                routes.by_host.entry(host).or_default().push(position);
            }
        }
        routes
    }

    /// Of the VirtualService at a position; empty where nothing of it is for this proxy.
    fn of(&mut self, position: usize, issues: &mut Issues) -> &[route::Route] {
        let (scope, egress, port) = (self.scope, self.egress, self.port);
        self.translated.entry(position).or_insert_with(|| {
            let context = Context {
                scope,
                service: egress.virtual_services[position],
                port,
                gateway: MESH,
            };
            http_route::translate(context, issues)
        })
    }

    /// Of a service: everything goes to it where no VirtualService says more.
    fn of_service(&mut self, service: &Service, issues: &mut Issues) -> Vec<route::Route> {
        let routed = self.of_host(&service.hostname, issues);
        routed.unwrap_or_else(|| vec![default_route(self.scope, service, self.port)])
    }

    /// The hosts of a VirtualService that are no service's. They have no port of their own: it is
    /// HTTP's, or that of the services beside them, as in Istio.
    fn bare_hosts(&self, position: usize, services: &[&Service]) -> Vec<&'w str> {
        let virtual_service: &'w ResolvedVirtualService = self.egress.virtual_services[position];
        let (matched, bare) = hosts_of(virtual_service, services);
        match matched == 0 && self.port != 80 {
            true => Vec::new(),
            false => bare,
        }
    }

    /// Of the VirtualService that names a host most exactly; the oldest of several.
    fn of_host(&mut self, host: &str, issues: &mut Issues) -> Option<Vec<route::Route>> {
        let exact = self.by_host.get(host).into_iter().flatten();
        let positions: BTreeSet<usize> = exact.chain(&self.wildcard).copied().collect();
        let mut candidates: Vec<(&str, usize)> = positions
            .into_iter()
            .filter_map(|position| {
                let virtual_service = self.egress.virtual_services[position];
                let patterns = virtual_service.spec.hosts.iter().map(String::as_str);
                let best = patterns
                    .filter(|pattern| hosts::covers(pattern, host))
                    .min_by_key(|pattern| hosts::rank(pattern))?;
                Some((best, position))
            })
            .collect();
        candidates.sort_by_key(|(pattern, position)| (hosts::rank(pattern), *position));
        candidates.into_iter().find_map(|(_, position)| {
            let routes = self.of(position, issues);
            (!routes.is_empty()).then(|| routes.to_vec())
        })
    }
}

/// The services that have HTTP at a port, in order of host name.
fn services_at<'w>(egress: &Egress<'w>, port: u16) -> Vec<&'w Service> {
    let services = egress.services.iter().map(|service| &***service);
    services
        .filter(|service| serves_http(service, port) || egress.port.is_some())
        .collect()
}

fn service_named<'w>(egress: &Egress<'w>, host: &str) -> Option<&'w Service> {
    let mut services = egress.services.iter().map(|service| &***service);
    services.find(|service| &*service.hostname == host)
}

fn serves_http(service: &Service, port: u16) -> bool {
    service
        .port(port)
        .is_some_and(|port| port.protocol.is_http() || port.protocol == Protocol::Sniffed)
}

/// How many services (in order of host name) a VirtualService is for, and its hosts that add none
/// of them.
fn hosts_of<'a>(
    virtual_service: &'a ResolvedVirtualService,
    services: &[&Service],
) -> (usize, Vec<&'a str>) {
    let mut matched: BTreeSet<&str> = BTreeSet::new();
    let (mut bare, mut wildcards) = (Vec::new(), Vec::new());
    for host in virtual_service.spec.hosts.iter().map(String::as_str) {
        let named = services.binary_search_by(|service| (*service.hostname).cmp(host));
        match named {
            Ok(_) => _ = matched.insert(host),
            Err(_) if host.starts_with('*') => wildcards.push(host),
            Err(_) => bare.push(host),
        }
    }
    for host in wildcards {
        let before = matched.len();
        let covered = services.iter().map(|service| &*service.hostname);
        matched.extend(covered.filter(|service| hosts::covers(host, service)));
        if matched.len() == before {
            bare.push(host);
        }
    }
    (matched.len(), bare)
}

/// Where the listener is one service's, its host matters no more.
fn own_virtual_host(
    scope: &Scope<'_>,
    egress: &Egress<'_>,
    host: &str,
    port: u16,
    issues: &mut Issues,
) -> Vec<route::VirtualHost> {
    let Some(service) = service_named(egress, host) else {
        return Vec::new();
    };
    let routes = Routes::new(scope, egress, port).of_service(service, issues);
    vec![virtual_host(host, port, vec!["*".to_owned()], routes)]
}

fn virtual_host(
    host: &str,
    port: u16,
    domains: Vec<String>,
    routes: Vec<route::Route>,
) -> route::VirtualHost {
    route::VirtualHost {
        name: format!("{host}:{port}"),
        domains,
        routes,
        include_request_attempt_count: true,
        ..Default::default()
    }
}

/// Everything to the service.
#[allow(
    deprecated,
    reason = "Istio's proxies read max_grpc_timeout; max_stream_duration would also bound the response"
)]
fn default_route(scope: &Scope<'_>, service: &Service, port: u16) -> route::Route {
    let policy = scope
        .rule(service)
        .map(|rule| destination_rule::at_port(rule.traffic_policy.as_ref(), port));
    let hash_policy = policy
        .as_ref()
        .and_then(crate::cluster::consistent_hash)
        .and_then(hash::translate)
        .into_iter()
        .collect();
    let mesh = &scope.world.mesh.config;
    let action = route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(
            cluster_names::outbound(port, "", &service.hostname),
        )),
        timeout: Some(pb::seconds(0)),
        max_grpc_timeout: Some(pb::seconds(0)),
        retry_policy: retry::translate(None, mesh.default_http_retry_policy.as_ref()),
        hash_policy,
        ..Default::default()
    };
    route::Route {
        name: "default".to_owned(),
        r#match: Some(matching::everything()),
        decorator: Some(route::Decorator {
            operation: format!("{}:{port}/*", service.hostname),
            ..Default::default()
        }),
        action: Some(route::route::Action::Route(action)),
        ..Default::default()
    }
}

/// Requests to hosts that the mesh does not know.
#[allow(
    deprecated,
    reason = "Istio's proxies read max_grpc_timeout; max_stream_duration would also bound the response"
)]
pub fn fallback(policy: OutboundPolicy) -> route::VirtualHost {
    let to = |cluster: &str| {
        route::route::Action::Route(route::RouteAction {
            cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(
                cluster.to_owned(),
            )),
            timeout: Some(pb::seconds(0)),
            max_grpc_timeout: Some(pb::seconds(0)),
            ..Default::default()
        })
    };
    let (name, action) = match policy {
        OutboundPolicy::AllowAny => ("allow_any", to(cluster_names::PASSTHROUGH)),
        OutboundPolicy::AllowAnyDynamicDns => (
            "allow_any_dynamic_dns",
            to(cluster_names::ALLOW_ANY_DYNAMIC_DNS),
        ),
        OutboundPolicy::RegistryOnly => (
            "block_all",
            route::route::Action::DirectResponse(route::DirectResponseAction {
                status: 502,
                ..Default::default()
            }),
        ),
    };
    route::VirtualHost {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        include_request_attempt_count: true,
        routes: vec![route::Route {
            name: name.to_owned(),
            r#match: Some(matching::everything()),
            action: Some(action),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Every name and address by which a client may call a service.
fn domains(scope: &Scope<'_>, service: &Service, proxy: &Proxy) -> Vec<String> {
    let mut domains = names(service, proxy);
    for alias in scope.aliases(&service.hostname) {
        domains.extend(names(alias, proxy));
    }
    for ip in service.ips(proxy.dns_capture) {
        domains.push(match ip {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        });
    }
    domains
}

fn names(service: &Service, proxy: &Proxy) -> Vec<String> {
    let host = &*service.hostname;
    let mut names = vec![host.to_owned(), format!("{host}.")];
    let suffix = format!(".svc.{}", proxy.domain_suffix());
    if let Some(short) = host.strip_suffix(&suffix)
        && !service.is_wildcard()
        && let Some((name, namespace)) = short.rsplit_once('.')
    {
        if namespace == proxy.namespace {
            names.push(name.to_owned());
            names.push(format!("{short}.svc"));
            names.push(short.to_owned());
        } else {
            names.push(short.to_owned());
            names.push(format!("{short}.svc"));
        }
    }
    if service.headless && service.provider == Provider::Kubernetes {
        let each: Vec<String> = names.iter().map(|name| format!("*.{name}")).collect();
        names.extend(each);
    }
    names
}

/// Virtual hosts in which no domain occurs twice: Envoy would refuse the configuration.
#[derive(Default)]
struct VirtualHosts {
    list: Vec<route::VirtualHost>,
    domains: BTreeSet<String>,
}

impl VirtualHosts {
    fn add(&mut self, mut host: route::VirtualHost) {
        host.domains
            .retain(|domain| self.domains.insert(domain.clone()));
        if !host.domains.is_empty() {
            self.list.push(host);
        }
    }
}
