//! Routes of all kinds: attached, converted, reported.

use meltemi_api::Object;
use meltemi_api::gateway_api::{GrpcRoute, HttpRoute, L4RouteRule, TcpRoute, TlsRoute};
use serde_json::{Value, json};

use super::super::issue::Problem;
use super::super::status::{CONTROLLER, condition};
use super::super::{Converted, sources};
use super::Context;
use super::backends::Rules;
use super::gateways::Gateways;
use super::http::Made;
use super::parents::{Parent, Route, Target, attach};
use super::virtual_services::VirtualServices;
use super::{grpc, http, l4};
use crate::issue::Issues;

pub fn convert<'a>(
    context: &Context<'a>,
    objects: &[&'a Object],
    gateways: &mut Gateways<'a>,
    services: &mut VirtualServices,
    converted: &mut Converted,
    issues: &mut Issues,
) {
    let mut of_http: Vec<(Route<'a>, Maker<'a>)> = Vec::new();
    for source in sources::<HttpRoute>(objects) {
        let spec = source.spec;
        let route = Route::new(&source, &spec.parent_refs, &spec.hostnames);
        of_http.push((route, Box::new(|all| http::rules(spec, all))));
    }
    for source in sources::<GrpcRoute>(objects) {
        let spec = source.spec;
        let route = Route::new(&source, &spec.parent_refs, &spec.hostnames);
        of_http.push((route, Box::new(|all| grpc::rules(spec, all))));
    }
    // Routes of both kinds for one host are one list.
    of_http.sort_by(|(a, _), (b, _)| a.age().cmp(&b.age()));
    for (route, maker) in of_http {
        let parents = attach(context, gateways, &route);
        let mut found = Found::default();
        for (in_mesh, guarded) in [(false, true), (true, false)] {
            let of = |parent: &&Parent<'_>| parent.targets.iter().any(|t| t.in_mesh() == in_mesh);
            if !parents.iter().any(|parent| of(&parent)) {
                continue;
            }
            let mut rules = Rules::new(context, &route.key, guarded);
            let made = maker(&mut rules);
            found.add(rules);
            for target in parents.iter().filter(of).flat_map(|parent| &parent.targets) {
                services.http(&route, target, &made);
            }
        }
        let in_mesh = parents
            .iter()
            .flat_map(|parent| &parent.targets)
            .any(Target::in_mesh);
        if in_mesh && !route.hostnames.is_empty() {
            issues.add(
                &route.key,
                "spec.hostnames",
                "has no effect on calls of Services and ServiceEntries, which have names of their own; remove it, or attach the route to Gateways only",
            );
        }
        report(&route, &parents, &found, converted, issues);
    }
    for source in sources::<TlsRoute>(objects) {
        let spec = source.spec;
        let route = Route::new(&source, &spec.parent_refs, &spec.hostnames);
        l4(
            context,
            &route,
            &spec.rules,
            gateways,
            services,
            converted,
            issues,
        );
    }
    for source in sources::<TcpRoute>(objects) {
        let spec = source.spec;
        let route = Route::new(&source, &spec.parent_refs, &[]);
        l4(
            context,
            &route,
            &spec.rules,
            gateways,
            services,
            converted,
            issues,
        );
    }
}

/// Makes the HTTP routes of an object.
type Maker<'a> = Box<dyn Fn(&mut Rules<'_, 'a>) -> Vec<Made> + 'a>;

/// What is wrong with a route's rules.
#[derive(Default)]
struct Found {
    unresolved: Vec<Problem>,
    unsupported: Vec<Problem>,
}

impl Found {
    fn add(&mut self, rules: Rules<'_, '_>) {
        for (from, to) in [
            (rules.unresolved, &mut self.unresolved),
            (rules.unsupported, &mut self.unsupported),
        ] {
            for problem in from {
                if !to.contains(&problem) {
                    to.push(problem);
                }
            }
        }
    }
}

fn l4<'a>(
    context: &Context<'a>,
    route: &Route<'a>,
    list: &[L4RouteRule],
    gateways: &mut Gateways<'a>,
    services: &mut VirtualServices,
    converted: &mut Converted,
    issues: &mut Issues,
) {
    let parents = attach(context, gateways, route);
    let mut found = Found::default();
    for target in parents.iter().flat_map(|parent| &parent.targets) {
        let mut rules = Rules::new(context, &route.key, !target.in_mesh());
        let made = l4::rules(list, &mut rules);
        found.add(rules);
        for (to, rule) in &made {
            let by_name = route.key.kind == meltemi_api::Kind::TlsRoute && !target.terminates_tls;
            // For connections any host will do; server names have their own list.
            let hosts = match target.in_mesh() || by_name {
                true => target.hosts.clone(),
                false => vec!["*".to_owned()],
            };
            let spec = match by_name {
                true if target.in_mesh() && !route.hostnames.is_empty() => {
                    l4::tls(target, route.hostnames, to)
                }
                true => l4::tls(target, &target.hosts, to),
                false => l4::tcp(target, to),
            };
            services.l4(route, target, hosts, spec, rule, context.place);
        }
    }
    report(route, &parents, &found, converted, issues);
}

/// Tells what is wrong with a route, and how it is attached.
fn report(
    route: &Route<'_>,
    parents: &[Parent<'_>],
    found: &Found,
    converted: &mut Converted,
    issues: &mut Issues,
) {
    let rejected = parents.iter().filter_map(|parent| parent.rejected.as_ref());
    let rules = found.unresolved.iter().chain(&found.unsupported);
    for problem in rejected.chain(rules) {
        problem.report(&route.key, issues);
    }
    let statuses: Vec<Value> = parents
        .iter()
        .map(|parent| {
            let accepted = parent.rejected.as_ref().or(found.unsupported.first());
            json!({
                "parentRef": parent.reference,
                "controllerName": CONTROLLER,
                "conditions": [
                    condition("Accepted", "Accepted", accepted),
                    condition("ResolvedRefs", "ResolvedRefs", found.unresolved.first()),
                ],
            })
        })
        .collect();
    if !statuses.is_empty() {
        let status = json!({"parents": statuses});
        converted.statuses.insert(route.key.clone(), status);
    }
}
