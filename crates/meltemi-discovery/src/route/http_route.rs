//! The HTTP routes of a VirtualService for one port of one gateway (or the mesh).

use meltemi_api::networking::{HttpMatchRequest, HttpRoute};

use super::{action, matching};
use crate::issue::Issues;
use crate::pb::route;
use crate::rule::Rule;
use crate::world::scope::Scope;
use crate::world::virtual_service::ResolvedVirtualService;

/// For whom routes are made.
#[derive(Clone, Copy)]
pub struct Context<'a, 'w> {
    pub scope: &'a Scope<'w>,
    pub service: &'a ResolvedVirtualService,
    /// The port that requests come to, as the client knows it.
    pub port: u16,
    /// `mesh` or `NAMESPACE/NAME`.
    pub gateway: &'a str,
}

impl Context<'_, '_> {
    pub fn in_mesh(&self) -> bool {
        self.gateway == crate::world::virtual_service::MESH
    }
}

/// The routes, up to the first that takes every request.
pub fn translate(context: Context<'_, '_>, issues: &mut Issues) -> Vec<route::Route> {
    let mut routes = Vec::new();
    let service = context.service;
    for (http, rule) in service.spec.http.iter().zip(&service.rules) {
        if http.matches.is_empty() {
            routes.push(one(context, http, None, rule, issues));
            break;
        }
        let applicable = http.matches.iter().enumerate().filter(|(_, matching)| {
            matching::applies(
                context.scope,
                context.service,
                matching,
                context.port,
                context.gateway,
            )
        });
        for matching in applicable {
            let route = one(context, http, Some(matching), rule, issues);
            let final_one = takes_everything(&route);
            routes.push(route);
            if final_one {
                return routes;
            }
        }
    }
    routes
}

fn one(
    context: Context<'_, '_>,
    http: &HttpRoute,
    matching: Option<(usize, &HttpMatchRequest)>,
    rule: &Rule,
    issues: &mut Issues,
) -> route::Route {
    let position = matching.map(|(position, _)| position);
    let matching = matching.map(|(_, matching)| matching);
    let mut route = action::translate(context, http, matching, rule, issues);
    route.r#match = Some(match matching {
        Some(matching) => matching::translate(matching, context.service.semantics),
        None => matching::everything(),
    });
    let decides = match position {
        // A delegate's matches are merged with those that lead to it.
        Some(position) if rule.object == context.service.key => Rule {
            field: format!("{}.match[{position}]", rule.field),
            ..rule.clone()
        },
        _ => rule.clone(),
    };
    route.metadata = Some(decides.metadata(&context.service.key));
    if let Some(matching) = matching {
        route.stat_prefix.clone_from(&matching.stat_prefix);
    }
    route.name = match matching.map_or("", |matching| matching.name.as_str()) {
        "" => http.name.clone(),
        own if http.name.is_empty() => own.to_owned(),
        own => format!("{}.{own}", http.name),
    };
    route
}

/// Whether nothing after the route is reached.
pub fn takes_everything(route: &route::Route) -> bool {
    let Some(matching) = &route.r#match else {
        return true;
    };
    let any_path = match &matching.path_specifier {
        Some(route::route_match::PathSpecifier::Prefix(prefix)) => prefix == "/",
        Some(route::route_match::PathSpecifier::SafeRegex(regex)) => regex.regex == ".*",
        _ => false,
    };
    any_path && matching.headers.is_empty() && matching.query_parameters.is_empty()
}
