//! A gateway's route configurations: the hosts of its HTTP servers.

use std::collections::{BTreeMap, BTreeSet};

use meltemi_api::ObjectKey;

use super::http_route::{self, Context};
use crate::hosts;
use crate::issue::Issues;
use crate::listener::{GatewayListener, GatewayServer};
use crate::pb::route;
use crate::world::scope::Scope;
use route::virtual_host::TlsRequirementType;

pub fn translate(
    scope: &Scope<'_>,
    listeners: &[GatewayListener<'_>],
    issues: &mut Issues,
) -> Vec<route::RouteConfiguration> {
    let mut configurations = Vec::new();
    for listener in listeners {
        for (name, positions) in &listener.routes {
            let servers = positions
                .iter()
                .map(|position| &listener.servers[*position]);
            let hosts = virtual_hosts(scope, servers, listener.port, issues);
            configurations.push(super::configuration(name, hosts));
        }
    }
    configurations
}

struct Host {
    name: String,
    routes: Vec<route::Route>,
    requires_tls: bool,
}

fn virtual_hosts<'a, 'w: 'a>(
    scope: &'a Scope<'w>,
    servers: impl Iterator<Item = &'a GatewayServer<'w>>,
    listen_port: u16,
    issues: &mut Issues,
) -> Vec<route::VirtualHost> {
    let mut found: BTreeMap<String, Host> = BTreeMap::new();
    // An object may be bound to several servers of one port.
    let mut added: BTreeSet<(String, &ObjectKey)> = BTreeSet::new();
    for server in servers {
        let gateway = server.gateway_name();
        for service in crate::listener::gateway_virtual_services(scope, server) {
            let allowed = server.hosts_for(&service.key.namespace);
            let names = intersection(&allowed, &service.spec.hosts);
            if names.is_empty() || service.spec.http.is_empty() {
                continue;
            }
            let context = Context {
                scope,
                service,
                port: server.number,
                gateway: &gateway,
            };
            let routes = http_route::translate(context, issues);
            if routes.is_empty() {
                continue;
            }
            for name in names {
                let host = found.entry(name.clone()).or_insert_with(|| Host {
                    name: format!("{name}:{}", server.number),
                    routes: Vec::new(),
                    requires_tls: false,
                });
                if added.insert((name, &service.key)) {
                    host.routes.extend(routes.iter().cloned());
                }
                host.requires_tls |= server.redirects_to_https();
            }
        }
        if server.redirects_to_https() {
            // Hosts without routes are redirected all the same.
            for name in &server.server.hosts {
                let name = name.split_once('/').map_or(name.as_str(), |(_, name)| name);
                let host = found.entry(name.to_owned()).or_insert_with(|| Host {
                    name: format!("{name}:{}", server.number),
                    routes: Vec::new(),
                    requires_tls: true,
                });
                host.requires_tls = true;
            }
        }
    }
    if found.is_empty() {
        return vec![route::VirtualHost {
            name: format!("blackhole:{listen_port}"),
            domains: vec!["*".to_owned()],
            ..Default::default()
        }];
    }
    let mut hosts: Vec<route::VirtualHost> = Vec::new();
    for (domain, mut host) in found {
        // Of several objects with one host, what takes every request must not hide the routes
        // of the others; all else stays in order.
        host.routes.sort_by_key(http_route::takes_everything);
        let require_tls = if host.requires_tls {
            TlsRequirementType::All
        } else {
            TlsRequirementType::None
        };
        // Hosts with the same routes share a virtual host.
        let same = hosts.iter_mut().find(|existing| {
            existing.require_tls == require_tls as i32 && existing.routes == host.routes
        });
        match same {
            Some(existing) => existing.domains.push(domain),
            None => hosts.push(route::VirtualHost {
                name: host.name,
                domains: vec![domain],
                routes: host.routes,
                require_tls: require_tls as i32,
                include_request_attempt_count: true,
                ..Default::default()
            }),
        }
    }
    hosts
}

/// The narrower host of each overlapping pair.
fn intersection(server: &[&str], service: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    for own in service {
        for allowed in server {
            if hosts::covers(allowed, own) {
                names.push(own.clone());
            } else if hosts::covers(own, allowed) {
                names.push((*allowed).to_owned());
            }
        }
    }
    names.sort();
    names.dedup();
    names
}
