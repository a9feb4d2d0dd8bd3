//! RDS: which requests go where.

mod action;
mod cors;
mod discovered;
mod encoded;
mod fault;
mod gateway;
mod hash;
mod headers;
mod http_route;
mod inbound;
mod matching;
mod outbound;
mod retry;

pub use discovered::{discovered, encode_hosts};
pub use encoded::Encoded;
pub use inbound::translate as inbound;
pub use outbound::fallback;

use meltemi_api::networking::Destination;
use meltemi_api::{Kind, ObjectKey};

use crate::issue::Issues;
use crate::listener::Listeners;
use crate::names;
use crate::pb::{self, route};
use crate::proxy::{Proxy, ProxyKind};
use crate::world::scope::Scope;

/// The route configurations that a proxy's listeners ask for.
pub fn translate(
    scope: &Scope<'_>,
    proxy: &Proxy,
    listeners: &Listeners<'_>,
    issues: &mut Issues,
) -> Vec<route::RouteConfiguration> {
    match proxy.kind {
        ProxyKind::Sidecar => outbound::translate(scope, proxy, &listeners.http, issues),
        ProxyKind::Gateway => gateway::translate(scope, &listeners.gateway, issues),
    }
}

fn configuration(name: &str, virtual_hosts: Vec<route::VirtualHost>) -> route::RouteConfiguration {
    route::RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts,
        // A route may name a cluster that arrives later.
        validate_clusters: pb::boolv(false),
        ignore_port_in_host_matching: true,
        max_direct_response_body_size_bytes: pb::u32v(1024 * 1024),
        ..Default::default()
    }
}

/// The cluster of a destination. Its port: given, otherwise (except for HTTP in the mesh, where
/// Istio keeps the port that the client called) the service's only one, otherwise the listener's.
pub fn cluster_name(
    scope: &Scope<'_>,
    owner: &ObjectKey,
    destination: &Destination,
    listen_port: u16,
    field: &str,
    issues: &mut Issues,
    same_port: bool,
) -> String {
    let given = destination
        .port
        .as_ref()
        .and_then(|port| u16::try_from(port.number).ok())
        .filter(|port| *port != 0);
    let service = scope.service(&destination.host);
    let port = given.unwrap_or_else(|| match service {
        Some(service) if !same_port && service.ports.len() == 1 => service.ports[0].number,
        _ => listen_port,
    });
    let of_istio = owner.kind == Kind::VirtualService;
    let at = |name: &str| match of_istio {
        true => format!("{field}.{name}"),
        false => field.to_owned(),
    };
    match service {
        // Said when the object was converted.
        None if !of_istio && scope.world.registry.by_host(&destination.host).is_empty() => {}
        None => issues.add(owner, at("host"), format!(
            "no service {:?} is known to namespace {}; create it or correct the host. Requests get {}",
            destination.host, scope.namespace, missing(owner)
        )),
        Some(service) => {
            if given.is_some() && service.port(port).is_none() {
                let known: Vec<String> =
                    service.ports.iter().map(|port| port.number.to_string()).collect();
                issues.add(owner, at("port.number"), format!(
                    "service {} has no port {port}; it has {}. Requests get {}",
                    service.hostname,
                    known.join(", "),
                    missing(owner)
                ));
            }
            let known = destination.subset.is_empty()
                || scope
                    .rule(service)
                    .is_some_and(|rule| rule.subset(&destination.subset).is_some());
            if !known {
                issues.add(owner, at("subset"), format!(
                    "no DestinationRule for {} has a subset {:?}; add it. Requests get 503",
                    service.hostname, destination.subset
                ));
            }
        }
    }
    names::outbound(port, &destination.subset, &destination.host)
}

/// The answer where a route leads nowhere: the Gateway API asks for 500.
fn missing(owner: &ObjectKey) -> u16 {
    match owner.kind {
        Kind::VirtualService | Kind::Ingress => 503,
        _ => 500,
    }
}
