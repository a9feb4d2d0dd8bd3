//! Rules of TLSRoutes and TCPRoutes.

use meltemi_api::gateway_api::L4RouteRule;
use meltemi_api::networking::{
    Destination, L4MatchAttributes, PortSelector, RouteDestination, TcpRoute, TlsMatchAttributes,
    TlsRoute, VirtualService,
};

use super::backends::Rules;
use super::parents::Target;
use crate::rule::Rule;

/// The destinations of each rule, and where it stands.
pub fn rules(
    list: &[L4RouteRule],
    rules: &mut Rules<'_, '_>,
) -> Vec<(Vec<RouteDestination>, Rule)> {
    let mut made = Vec::new();
    for (index, rule) in list.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        let destinations = rules.destinations(&rule.backend_refs, &field);
        let mut to: Vec<RouteDestination> = destinations
            .into_iter()
            .map(|(destination, weight, _)| RouteDestination {
                destination,
                weight,
            })
            .collect();
        if to.is_empty() {
            to.push(nowhere());
        }
        let object = rules.route.clone();
        made.push((to, Rule { object, field }));
    }
    made
}

/// A destination that nothing is reached through: the connection is closed.
fn nowhere() -> RouteDestination {
    RouteDestination {
        destination: Destination {
            port: Some(PortSelector { number: 65535 }),
            ..Destination::default()
        },
        weight: 1,
    }
}

/// TCP routes for a target; the first takes every connection.
pub fn tcp(target: &Target, to: &[RouteDestination]) -> VirtualService {
    let matches = target.port.map(|port| L4MatchAttributes {
        port,
        ..L4MatchAttributes::default()
    });
    VirtualService {
        tcp: vec![TcpRoute {
            matches: matches.into_iter().collect(),
            route: to.to_vec(),
        }],
        ..VirtualService::default()
    }
}

/// TLS routes for a target by server names.
pub fn tls(target: &Target, names: &[String], to: &[RouteDestination]) -> VirtualService {
    VirtualService {
        tls: vec![TlsRoute {
            matches: vec![TlsMatchAttributes {
                sni_hosts: names.to_vec(),
                port: target.port.unwrap_or(0),
                ..TlsMatchAttributes::default()
            }],
            route: to.to_vec(),
        }],
        ..VirtualService::default()
    }
}
