//! VirtualServices out of routes: for HTTP one for each Gateway and host (or namespace, port and
//! host in the mesh), in which the routes stand in the Gateway API's order.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use meltemi_api::networking::{HttpMatchRequest, HttpRoute, StringMatch, VirtualService};
use meltemi_api::{Kind, ObjectKey};
use meltemi_registry::Visibility;

use super::super::Place;
use super::gateways::GENERATED;
use super::http::Made;
use super::parents::{Route, Target};
use crate::rule::Rule;
use crate::world::virtual_service::{ResolvedVirtualService, Semantics};

/// Those made so far.
#[derive(Default)]
pub struct VirtualServices {
    /// By Gateway (for the mesh: namespace and port) and host.
    http: BTreeMap<(String, String), Merged>,
    other: Vec<Arc<ResolvedVirtualService>>,
    /// How many were named after a route.
    named: BTreeMap<ObjectKey, usize>,
}

struct Merged {
    key: ObjectKey,
    created: String,
    target: Target,
    routes: Vec<Made>,
}

impl VirtualServices {
    /// Adds the rules of a route for a target; routes come oldest first.
    pub fn http(&mut self, route: &Route<'_>, target: &Target, made: &[Made]) {
        let scope = match (target.in_mesh(), target.port) {
            (false, _) => target.gateway.clone(),
            (true, None) => route.key.namespace.clone(),
            (true, Some(port)) => format!("{}/{port}", route.key.namespace),
        };
        for host in &target.hosts {
            let place = (scope.clone(), host.clone());
            if !self.http.contains_key(&place) {
                let merged = Merged {
                    key: self.name(route, ""),
                    created: route.created.clone(),
                    target: target.clone(),
                    routes: Vec::new(),
                };
                self.http.insert(place.clone(), merged);
            }
            let Some(merged) = self.http.get_mut(&place) else {
                continue;
            };
            let new = made.iter().filter(|(_, rule)| {
                // Two references may lead to the same listener.
                !merged.routes.iter().any(|(_, known)| known == rule)
            });
            let new: Vec<Made> = new.map(|made| at_port(made, target.port)).collect();
            merged.routes.extend(new);
        }
    }

    /// Adds one rule of a TLS or TCP route for a target.
    pub fn l4(
        &mut self,
        route: &Route<'_>,
        target: &Target,
        hosts: Vec<String>,
        spec: VirtualService,
        rule: &Rule,
        place: &Place<'_>,
    ) {
        let infix = if spec.tls.is_empty() { "-tcp" } else { "-tls" };
        let key = self.name(route, infix);
        let rules = |count: usize| vec![rule.clone(); count];
        self.other.push(Arc::new(ResolvedVirtualService {
            visibility: visibility(place, target, &key.namespace),
            key,
            created: route.created.clone(),
            gateways: [target.gateway.clone()].into(),
            tls_rules: rules(spec.tls.len()),
            tcp_rules: rules(spec.tcp.len()),
            rules: Vec::new(),
            semantics: Semantics::Gateway,
            spec: VirtualService {
                hosts,
                gateways: vec![target.gateway.clone()],
                ..spec
            },
        }));
    }

    /// Istio's name for what is made of a route.
    fn name(&mut self, route: &Route<'_>, infix: &str) -> ObjectKey {
        let count = self.named.entry(route.key.clone()).or_default();
        let name = format!("{}{infix}-{count}-{GENERATED}", route.key.name);
        *count += 1;
        ObjectKey::new(Kind::VirtualService, route.namespace(), name)
    }

    pub fn finish(self, place: &Place<'_>) -> Vec<Arc<ResolvedVirtualService>> {
        let merged = self.http.into_iter().map(|((_, host), mut merged)| {
            merged.routes.sort_by_key(|(route, _)| rank(route));
            let (http, rules) = merged.routes.into_iter().unzip();
            Arc::new(ResolvedVirtualService {
                visibility: visibility(place, &merged.target, &merged.key.namespace),
                key: merged.key,
                created: merged.created,
                gateways: [merged.target.gateway.clone()].into(),
                rules,
                tls_rules: Vec::new(),
                tcp_rules: Vec::new(),
                semantics: Semantics::Gateway,
                spec: VirtualService {
                    hosts: vec![host],
                    gateways: vec![merged.target.gateway],
                    http,
                    ..VirtualService::default()
                },
            })
        });
        merged.chain(self.other).collect()
    }
}

/// A consumer's routes are for its own namespace.
fn visibility(place: &Place<'_>, target: &Target, namespace: &str) -> Visibility {
    if target.producer {
        place.visibility(namespace)
    } else {
        Visibility::Namespaces([namespace.to_owned()].into())
    }
}

fn at_port((route, rule): &Made, port: Option<u32>) -> Made {
    let mut route = route.clone();
    for matching in &mut route.matches {
        matching.port = port.unwrap_or(0);
    }
    (route, rule.clone())
}

/// The Gateway API's precedence: exact paths, then prefixes, then expressions; longer paths; a
/// method; more headers; more query parameters. What is equal stays in order: older routes, then
/// earlier rules.
fn rank(route: &HttpRoute) -> impl Ord + use<> {
    let matching = route.matches.first();
    let (kind, length) = match matching.and_then(|matching| matching.uri.as_ref()) {
        Some(StringMatch::Exact(path)) => (3, path.len()),
        Some(StringMatch::Prefix(path)) => (2, path.len()),
        Some(StringMatch::Regex(path)) => (1, path.len()),
        Some(StringMatch::Present) | None => (0, 0),
    };
    let number = |of: fn(&HttpMatchRequest) -> usize| Reverse(matching.map_or(0, of));
    (
        Reverse((kind, length)),
        number(|matching| usize::from(matching.method.is_some())),
        number(|matching| matching.headers.len()),
        number(|matching| matching.query_params.len()),
    )
}
