//! What becomes of a request: forwarded, redirected, answered.

use meltemi_api::ObjectKey;
use meltemi_api::networking::{
    Destination, HttpMatchRequest, HttpRedirect, HttpRoute, HttpRouteDestination, Percent,
    RedirectPortSelection,
};

use super::http_route::Context;
use super::{cors, fault, hash, headers, matching, retry};
use crate::issue::Issues;
use crate::pb::{self, core, matcher, route};
use crate::rule::Rule;
use crate::world::destination_rule;
use crate::world::virtual_service::Semantics;
use route::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
use route::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy,
};
use route::weighted_cluster::{ClusterWeight, cluster_weight};

pub fn translate(
    context: Context<'_, '_>,
    http: &HttpRoute,
    matching: Option<&HttpMatchRequest>,
    rule: &Rule,
    issues: &mut Issues,
) -> route::Route {
    let key = &context.service.key;
    let mut route = route::Route::default();
    let request = headers::request(http.headers.as_ref());
    let response = headers::response(http.headers.as_ref());
    route.request_headers_to_add = request.add;
    route.request_headers_to_remove = request.remove;
    route.response_headers_to_add = response.add;
    route.response_headers_to_remove = response.remove;

    let mut operation_target = format!("{}:{}", key.name, context.port);
    if let Some(redirection) = &http.redirect {
        route.action = Some(route::route::Action::Redirect(redirect(
            redirection,
            matching,
            context,
        )));
    } else if let Some(answer) = &http.direct_response {
        let body = answer.body.as_ref().and_then(|body| {
            let specifier = match (&body.string, &body.bytes) {
                (Some(text), _) => core::data_source::Specifier::InlineString(text.clone()),
                (None, Some(bytes)) => core::data_source::Specifier::InlineBytes(bytes.0.clone()),
                (None, None) => return None,
            };
            Some(core::DataSource {
                specifier: Some(specifier),
                ..Default::default()
            })
        });
        route.action = Some(route::route::Action::DirectResponse(
            route::DirectResponseAction {
                status: answer.status,
                body,
                ..Default::default()
            },
        ));
    } else {
        if let [only] = &http.route[..] {
            let port = only
                .destination
                .port
                .as_ref()
                .map_or(u32::from(context.port), |port| port.number);
            operation_target = format!("{}:{port}", only.destination.host);
        }
        let action = forward(context, http, &mut route, request.authority, rule, issues);
        route.action = Some(route::route::Action::Route(action));
    }
    route.decorator = Some(route::Decorator {
        operation: format!("{operation_target}{}", matching::operation(matching)),
        ..Default::default()
    });
    if let Some(injection) = &http.fault
        && let Some(config) = fault::translate(
            injection,
            &rule.object,
            &format!("{}.fault", rule.field),
            issues,
        )
    {
        route
            .typed_per_filter_config
            .insert("envoy.filters.http.fault".to_owned(), pb::any(&config));
    }
    if let Some(policy) = &http.cors_policy {
        route.typed_per_filter_config.insert(
            "envoy.filters.http.cors".to_owned(),
            pb::any(&cors::translate(policy)),
        );
    }
    route
}

#[allow(
    deprecated,
    reason = "Istio's proxies read max_grpc_timeout; max_stream_duration would also bound the response"
)]
fn forward(
    context: Context<'_, '_>,
    http: &HttpRoute,
    route: &mut route::Route,
    authority: Option<String>,
    rule: &Rule,
    issues: &mut Issues,
) -> route::RouteAction {
    let mesh = &context.scope.world.mesh.config;
    let timeout = pb::duration(http.timeout.map(Into::into).unwrap_or_default());
    let mut action = route::RouteAction {
        timeout: Some(timeout),
        // A gRPC client's own deadline counts up to the route's.
        max_grpc_timeout: Some(timeout),
        retry_policy: retry::translate(
            http.retries.as_ref(),
            mesh.default_http_retry_policy.as_ref(),
        ),
        host_rewrite_specifier: authority.map(HostRewriteSpecifier::HostRewriteLiteral),
        ..Default::default()
    };
    if context.service.semantics == Semantics::Gateway {
        action.cluster_not_found_response_code =
            ClusterNotFoundResponseCode::InternalServerError as i32;
    }
    if let Some(rewrite) = &http.rewrite {
        if let Some(regex) = &rewrite.uri_regex_rewrite {
            action.regex_rewrite = Some(matcher::RegexMatchAndSubstitute {
                pattern: Some(pb::regex(&regex.pattern)),
                substitution: regex.rewrite.clone(),
            });
        } else if !rewrite.uri.is_empty() {
            action.prefix_rewrite.clone_from(&rewrite.uri);
        }
        if !rewrite.authority.is_empty() {
            action.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(
                rewrite.authority.clone(),
            ));
        }
    }
    mirrors(context, http, &mut action, rule, issues);
    let cluster = |destination: &Destination, field: &str, issues: &mut Issues| {
        cluster_name(context, &rule.object, destination, field, issues)
    };
    if let [only] = &http.route[..] {
        let own = headers::request(only.headers.as_ref());
        let response = headers::response(only.headers.as_ref());
        route.request_headers_to_add.extend(own.add);
        route.request_headers_to_remove.extend(own.remove);
        route.response_headers_to_add.extend(response.add);
        route.response_headers_to_remove.extend(response.remove);
        if let Some(authority) = own.authority {
            action.host_rewrite_specifier =
                Some(HostRewriteSpecifier::HostRewriteLiteral(authority));
        }
        let name = cluster(&only.destination, &rule.destination(0), issues);
        action.cluster_specifier = Some(ClusterSpecifier::Cluster(name));
        action.hash_policy = hash_policy(context, &only.destination);
        return action;
    }
    let mut clusters = Vec::new();
    for (index, weighted) in http.route.iter().enumerate() {
        // A destination without weight gets nothing.
        let weight = u32::try_from(weighted.weight).unwrap_or(0);
        if weight == 0 {
            continue;
        }
        let name = cluster(&weighted.destination, &rule.destination(index), issues);
        clusters.push(cluster_weight(weighted, name, weight));
        let hash = hash_policy(context, &weighted.destination);
        if action.hash_policy.is_empty() {
            action.hash_policy = hash;
        }
    }
    action.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(route::WeightedCluster {
        clusters,
        ..Default::default()
    }));
    action
}

fn cluster_weight(weighted: &HttpRouteDestination, name: String, weight: u32) -> ClusterWeight {
    let request = headers::request(weighted.headers.as_ref());
    let response = headers::response(weighted.headers.as_ref());
    ClusterWeight {
        name,
        weight: pb::u32v(weight),
        request_headers_to_add: request.add,
        request_headers_to_remove: request.remove,
        response_headers_to_add: response.add,
        response_headers_to_remove: response.remove,
        host_rewrite_specifier: request
            .authority
            .map(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
        ..Default::default()
    }
}

fn cluster_name(
    context: Context<'_, '_>,
    owner: &ObjectKey,
    destination: &Destination,
    field: &str,
    issues: &mut Issues,
) -> String {
    super::cluster_name(
        context.scope,
        owner,
        destination,
        context.port,
        field,
        issues,
        context.in_mesh(),
    )
}

fn mirrors(
    context: Context<'_, '_>,
    http: &HttpRoute,
    action: &mut route::RouteAction,
    rule: &Rule,
    issues: &mut Issues,
) {
    let mut add = |destination: &Destination, percent: f64, field: String, issues: &mut Issues| {
        if percent <= 0.0 {
            return;
        }
        action.request_mirror_policies.push(RequestMirrorPolicy {
            cluster: cluster_name(context, &rule.object, destination, &field, issues),
            runtime_fraction: Some(core::RuntimeFractionalPercent {
                default_value: Some(pb::fraction(percent)),
                ..Default::default()
            }),
            trace_sampled: pb::boolv(false),
            disable_shadow_host_suffix_append: true,
            ..Default::default()
        });
    };
    let value = |percentage: &Option<Percent>| percentage.as_ref().map(|p| p.value);
    if let Some(destination) = &http.mirror {
        let percent = value(&http.mirror_percentage)
            .or(http.mirror_percent.map(f64::from))
            .unwrap_or(100.0);
        add(destination, percent, rule.mirror("mirror"), issues);
    }
    for (index, mirror) in http.mirrors.iter().enumerate() {
        let percent = value(&mirror.percentage).unwrap_or(100.0);
        let field = rule.mirror(&format!("mirrors[{index}].destination"));
        add(&mirror.destination, percent, field, issues);
    }
}

/// The hash of the destination's DestinationRule.
fn hash_policy(
    context: Context<'_, '_>,
    destination: &Destination,
) -> Vec<route::route_action::HashPolicy> {
    let scope = context.scope;
    let Some(service) = scope.service(&destination.host) else {
        return Vec::new();
    };
    let Some(rule) = scope.rule(service) else {
        return Vec::new();
    };
    let port = destination
        .port
        .as_ref()
        .and_then(|port| u16::try_from(port.number).ok())
        .unwrap_or(context.port);
    let mut policy = destination_rule::at_port(rule.traffic_policy.as_ref(), port);
    if let Some(subset) = rule.subset(&destination.subset) {
        policy = destination_rule::at_subset(&policy, subset, port);
    }
    crate::cluster::consistent_hash(&policy)
        .and_then(hash::translate)
        .into_iter()
        .collect()
}

fn redirect(
    redirect: &HttpRedirect,
    matching: Option<&HttpMatchRequest>,
    context: Context<'_, '_>,
) -> route::RedirectAction {
    let of_gateway = context.service.semantics == Semantics::Gateway;
    let port = match (redirect.port, redirect.derive_port) {
        (Some(port), _) => port,
        // Routes are made for one port each: the request's is known.
        (None, Some(RedirectPortSelection::FromRequestPort)) => u32::from(context.port),
        (None, Some(RedirectPortSelection::FromProtocolDefault) | None) => 0,
    };
    // A location has no port that its scheme implies.
    let port = match (port, redirect.scheme.as_str()) {
        (80, "" | "http") | (443, "" | "https") if of_gateway => 0,
        _ => port,
    };
    let path = if of_gateway && redirect.prefix_rewrite == "/" {
        let prefix = matching.and_then(|matching| matching.uri.as_ref());
        Some(PathRewriteSpecifier::RegexRewrite(
            matching::without_prefix(prefix),
        ))
    } else if !redirect.prefix_rewrite.is_empty() {
        Some(PathRewriteSpecifier::PrefixRewrite(
            redirect.prefix_rewrite.clone(),
        ))
    } else if redirect.uri.is_empty() {
        None
    } else {
        Some(PathRewriteSpecifier::PathRedirect(redirect.uri.clone()))
    };
    let code = match redirect.redirect_code {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    route::RedirectAction {
        host_redirect: redirect.authority.clone(),
        port_redirect: port,
        response_code: code as i32,
        path_rewrite_specifier: path,
        scheme_rewrite_specifier: (!redirect.scheme.is_empty())
            .then(|| SchemeRewriteSpecifier::SchemeRedirect(redirect.scheme.clone())),
        ..Default::default()
    }
}
