//! Rules of a GRPCRoute: HTTP routes for `/SERVICE/METHOD`.

use meltemi_api::gateway_api::{
    GrpcFilterType, GrpcMethodMatch, GrpcRoute as Spec, GrpcRouteFilter, GrpcRouteMatch,
    GrpcRouteRule, ValueMatchType,
};
use meltemi_api::networking::{HttpMatchRequest, HttpRoute, HttpRouteDestination, StringMatch};

use super::backends::Rules;
use super::filters;
use super::http::{Made, each, refuse, values};

pub fn rules(spec: &Spec, rules: &mut Rules<'_, '_>) -> Vec<Made> {
    each(&spec.rules, |rule| &rule.matches, one, rules)
}

fn one(
    rule: &GrpcRouteRule,
    matching: Option<&GrpcRouteMatch>,
    field: &str,
    rules: &mut Rules<'_, '_>,
) -> HttpRoute {
    let method = matching.and_then(|matching| matching.method.as_ref());
    let mut route = HttpRoute {
        name: rule.name.clone(),
        matches: vec![HttpMatchRequest {
            uri: Some(method.map_or_else(|| StringMatch::Prefix("/".to_owned()), path)),
            headers: values(matching.map_or(&[], |m| &m.headers), true),
            ..HttpMatchRequest::default()
        }],
        ..HttpRoute::default()
    };
    let before = rules.unsupported.len();
    for (index, filter) in rule.filters.iter().enumerate() {
        let field = format!("{field}.filters[{index}]");
        match filter.kind {
            Some(GrpcFilterType::RequestMirror) => {
                let copies = filter.request_mirror.as_ref();
                let copies = copies.and_then(|copies| filters::mirror(rules, copies, &field));
                route.mirrors.extend(copies);
            }
            _ => headers(filter, &mut route.headers, &field, rules),
        }
    }
    for (destination, weight, index) in rules.destinations(&rule.backend_refs, field) {
        let mut to = HttpRouteDestination {
            destination,
            weight,
            headers: None,
        };
        for (position, filter) in rule.backend_refs[index].filters.iter().enumerate() {
            let field = format!("{field}.backendRefs[{index}].filters[{position}]");
            headers(filter, &mut to.headers, &field, rules);
        }
        route.route.push(to);
    }
    if rules.unsupported.len() > before || route.route.is_empty() {
        refuse(&mut route);
    }
    route
}

/// Adds a filter that changes headers; others are not supported.
fn headers(
    filter: &GrpcRouteFilter,
    to: &mut Option<meltemi_api::networking::Headers>,
    field: &str,
    rules: &mut Rules<'_, '_>,
) {
    match filter.kind {
        Some(GrpcFilterType::RequestHeaderModifier) => {
            filters::headers(to).request =
                filters::operations(filter.request_header_modifier.as_ref());
        }
        Some(GrpcFilterType::ResponseHeaderModifier) => {
            filters::headers(to).response =
                filters::operations(filter.response_header_modifier.as_ref());
        }
        Some(other) => rules.not_supported(field, other.as_str()),
        None => {}
    }
}

/// The path of a method.
fn path(matching: &GrpcMethodMatch) -> StringMatch {
    let exact = matching.kind == ValueMatchType::Exact;
    let (service, method) = (matching.service.as_str(), matching.method.as_str());
    match (service.is_empty(), method.is_empty()) {
        (true, true) => StringMatch::Prefix("/".to_owned()),
        (false, true) if exact => StringMatch::Prefix(format!("/{service}/")),
        (false, true) => StringMatch::Regex(format!("/{service}/.+")),
        (true, false) => StringMatch::Regex(format!("/[^/]+/{method}")),
        (false, false) if exact => StringMatch::Exact(format!("/{service}/{method}")),
        (false, false) => StringMatch::Regex(format!("/{service}/{method}")),
    }
}
