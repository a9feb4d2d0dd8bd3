//! Rules of an HTTPRoute: one of Istio's HTTP routes for each match.

use meltemi_api::gateway_api::{
    HttpBackendRef, HttpFilterType, HttpRoute as Spec, HttpRouteMatch, HttpRouteRule,
    PathMatchType, ValueMatch, ValueMatchType,
};
use meltemi_api::networking::{
    HttpDirectResponse, HttpMatchRequest, HttpRetry, HttpRoute, HttpRouteDestination, StringMatch,
};

use super::backends::Rules;
use super::filters;
use crate::rule::Rule;

/// What is retried beside status codes, where retries are asked for.
const RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled";
/// Retries where their number is not given.
const ATTEMPTS: u32 = 2;

/// An HTTP route, and where it stands.
pub type Made = (HttpRoute, Rule);

pub fn rules(spec: &Spec, rules: &mut Rules<'_, '_>) -> Vec<Made> {
    if spec.rules.is_empty() {
        // Everything, to nowhere.
        let every = HttpRouteRule::default();
        let object = rules.route.clone();
        let field = "spec.rules".to_owned();
        return vec![(one(&every, None, &field, rules), Rule { object, field })];
    }
    each(&spec.rules, |rule| &rule.matches, one, rules)
}

/// Makes a route of each rule and match.
pub fn each<R, M>(
    list: &[R],
    matches: fn(&R) -> &Vec<M>,
    one: impl Fn(&R, Option<&M>, &str, &mut Rules<'_, '_>) -> HttpRoute,
    rules: &mut Rules<'_, '_>,
) -> Vec<Made> {
    let mut made = Vec::new();
    for (index, rule) in list.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        let before = (rules.unresolved.len(), rules.unsupported.len());
        for (position, matching) in alternatives(matches(rule)).enumerate() {
            // What is wrong is the same for every match.
            rules.unresolved.truncate(before.0);
            rules.unsupported.truncate(before.1);
            let mut route = one(rule, matching, &field, rules);
            if route.name.is_empty() {
                let key = rules.route;
                route.name = format!("{}.{}.{index}", key.namespace, key.name);
            }
            let object = rules.route.clone();
            let field = match matching {
                Some(_) => format!("{field}.matches[{position}]"),
                None => field.clone(),
            };
            made.push((route, Rule { object, field }));
        }
    }
    made
}

/// The alternatives of a rule; one that takes everything where there are none.
fn alternatives<T>(matches: &[T]) -> impl Iterator<Item = Option<&T>> {
    let everything = matches.is_empty().then_some(None);
    everything.into_iter().chain(matches.iter().map(Some))
}

fn one(
    rule: &HttpRouteRule,
    matching: Option<&HttpRouteMatch>,
    field: &str,
    rules: &mut Rules<'_, '_>,
) -> HttpRoute {
    let uri = matching.map_or_else(|| StringMatch::Prefix("/".to_owned()), path);
    let mut route = HttpRoute {
        name: rule.name.clone(),
        ..HttpRoute::default()
    };
    let supported = filters::http(rules, &rule.filters, &uri, field, &mut route);
    route.matches = vec![HttpMatchRequest {
        uri: Some(uri),
        headers: values(matching.map_or(&[], |m| &m.headers), true),
        query_params: values(matching.map_or(&[], |m| &m.query_params), false),
        method: matching
            .filter(|matching| !matching.method.is_empty())
            .map(|matching| StringMatch::Exact(matching.method.clone())),
        ..HttpMatchRequest::default()
    }];
    timing(rule, &mut route);
    let destinations = rules.destinations(&rule.backend_refs, field);
    let mut of_backends = true;
    for (destination, weight, index) in destinations {
        let mut to = HttpRouteDestination {
            destination,
            weight,
            headers: None,
        };
        let field = format!("{field}.backendRefs[{index}]");
        of_backends &= for_backend(&rule.backend_refs[index], &field, &mut to, rules);
        route.route.push(to);
    }
    if !supported || !of_backends || (route.route.is_empty() && route.redirect.is_none()) {
        refuse(&mut route);
    }
    route
}

/// Requests that have nowhere to go, or that must not pass without a filter, get 500.
pub fn refuse(route: &mut HttpRoute) {
    route.redirect = None;
    route.route.clear();
    route.mirrors.clear();
    route.direct_response = Some(HttpDirectResponse {
        status: 500,
        body: None,
    });
}

/// Adds a backend's filters; whether all of them are supported.
fn for_backend(
    backend: &HttpBackendRef,
    field: &str,
    to: &mut HttpRouteDestination,
    rules: &mut Rules<'_, '_>,
) -> bool {
    let before = rules.unsupported.len();
    for (index, filter) in backend.filters.iter().enumerate() {
        match filter.kind {
            Some(HttpFilterType::RequestHeaderModifier) => {
                filters::headers(&mut to.headers).request =
                    filters::operations(filter.request_header_modifier.as_ref());
            }
            Some(HttpFilterType::ResponseHeaderModifier) => {
                filters::headers(&mut to.headers).response =
                    filters::operations(filter.response_header_modifier.as_ref());
            }
            Some(other) => {
                rules.not_supported(&format!("{field}.filters[{index}]"), other.as_str());
            }
            None => {}
        }
    }
    rules.unsupported.len() == before
}

fn path(matching: &HttpRouteMatch) -> StringMatch {
    let path = matching.path.as_ref();
    let value = path.and_then(|path| path.value.as_deref()).unwrap_or("/");
    match path.map(|path| path.kind).unwrap_or_default() {
        PathMatchType::Exact => StringMatch::Exact(value.to_owned()),
        PathMatchType::RegularExpression => StringMatch::Regex(value.to_owned()),
        // A slash at the end of a prefix means nothing.
        PathMatchType::PathPrefix => StringMatch::Prefix(match value.trim_end_matches('/') {
            "" => "/".to_owned(),
            prefix => prefix.to_owned(),
        }),
    }
}

/// Conditions on headers or query parameters; of several for a name the first counts.
pub fn values(
    list: &[ValueMatch],
    headers: bool,
) -> std::collections::BTreeMap<String, StringMatch> {
    let mut map = std::collections::BTreeMap::new();
    for wanted in list {
        let name = match headers {
            true => wanted.name.to_ascii_lowercase(),
            false => wanted.name.clone(),
        };
        map.entry(name).or_insert_with(|| match wanted.kind {
            ValueMatchType::Exact => StringMatch::Exact(wanted.value.clone()),
            ValueMatchType::RegularExpression => StringMatch::Regex(wanted.value.clone()),
        });
    }
    map
}

/// Deadlines and retries.
fn timing(rule: &HttpRouteRule, route: &mut HttpRoute) {
    route.retries = rule.retry.as_ref().map(|retry| {
        let attempts = retry.attempts.unwrap_or(ATTEMPTS);
        let codes = retry.codes.iter().map(|code| format!(",{code}"));
        HttpRetry {
            attempts: i32::try_from(attempts).unwrap_or(i32::MAX),
            retry_on: RETRY_ON.to_owned() + &codes.collect::<String>(),
            backoff: retry.backoff.map(|backoff| backoff.get()),
            ..HttpRetry::default()
        }
    });
    let Some(timeouts) = &rule.timeouts else {
        return;
    };
    let limit = |given: Option<meltemi_api::gateway_api::GatewayDuration>| {
        given
            .filter(|limit| !limit.is_zero())
            .map(|limit| limit.get())
    };
    route.timeout = limit(timeouts.request);
    if let Some(each) = limit(timeouts.backend_request) {
        match &mut route.retries {
            Some(retries) => retries.per_try_timeout = Some(each),
            // There is one try alone.
            None => route.timeout = Some(each),
        }
    }
}
