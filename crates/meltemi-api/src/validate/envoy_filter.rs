//! EnvoyFilter.

use super::report::Report;
use crate::FieldPath;
use crate::networking::{
    ApplyTo, EnvoyConfigObjectMatch, EnvoyConfigObjectPatch, EnvoyFilter, ListenerMatch, Patch,
    PatchContext, PatchOperation,
};
use crate::suggest::did_you_mean;
use meltemi_schema::JsonError;
use serde_json::{Map, Value};
use std::str::FromStr;

/// Names of Envoy's HTTP connection manager, the deprecated one included.
const CONNECTION_MANAGER: [&str; 2] = [
    "envoy.filters.network.http_connection_manager",
    "envoy.http_connection_manager",
];
/// Most references of one object.
const MAX_TARGETS: usize = 16;

pub(super) fn validate(spec: &EnvoyFilter, at: &FieldPath, report: &mut Report) {
    report.warning(
        at,
        "EnvoyFilter depends on how configuration is generated, which may change at any time",
        "use another kind where one does it, and try it again with every upgrade",
    );
    if let Some(selector) = &spec.workload_selector {
        let at = at.field("workloadSelector");
        if selector.labels.is_empty() {
            let message = "has no labels: it applies to the whole namespace";
            report.warning(&at, message, "add labels, or remove it");
        }
        report.selector(&at.field("labels"), &selector.labels);
        if !spec.target_refs.is_empty() {
            report.error(&at, "excludes targetRefs", "keep one of them");
        }
    }
    let targets = at.field("targetRefs");
    report.at_most_items(&targets, spec.target_refs.len(), MAX_TARGETS);
    for (index, target) in spec.target_refs.iter().enumerate() {
        super::attachment::reference(target, &targets.index(index), report);
    }
    for (index, one) in spec.config_patches.iter().enumerate() {
        config_patch(one, &at.field("configPatches").index(index), report);
    }
}

fn config_patch(one: &EnvoyConfigObjectPatch, at: &FieldPath, report: &mut Report) {
    if one.apply_to == ApplyTo::Invalid {
        let message = "is required";
        report.error(
            &at.field("applyTo"),
            message,
            "say what is patched, such as CLUSTER",
        );
    }
    match &one.patch {
        None => report.error(&at.field("patch"), "is required", "add patch"),
        Some(patch) => {
            let at = at.field("patch");
            patch_rules(patch, &at, report);
            if let Some((message, value)) = message(one.apply_to).zip(patch.value.as_ref()) {
                value_rules(message, value, &at.field("value"), report);
            }
        }
    }
    if let Some(one_match) = &one.r#match {
        match_rules(one_match, one.apply_to, &at.field("match"), report);
    }
}

fn patch_rules(patch: &Patch, at: &FieldPath, report: &mut Report) {
    if patch.operation == PatchOperation::Invalid {
        let message = "is required";
        report.error(
            &at.field("operation"),
            message,
            "say what is done, such as MERGE",
        );
    } else if patch.operation != PatchOperation::Remove && patch.value.is_none() {
        let message = format!("is required with {}", patch.operation);
        report.error(&at.field("value"), message, "write the message");
    }
}

/// The message of Envoy's that a patch changes or adds.
fn message(of: ApplyTo) -> Option<&'static str> {
    Some(match of {
        ApplyTo::Invalid => return None,
        ApplyTo::Listener => "envoy.config.listener.v3.Listener",
        ApplyTo::FilterChain => "envoy.config.listener.v3.FilterChain",
        ApplyTo::NetworkFilter => "envoy.config.listener.v3.Filter",
        ApplyTo::HttpFilter => {
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
        }
        ApplyTo::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
        ApplyTo::VirtualHost => "envoy.config.route.v3.VirtualHost",
        ApplyTo::HttpRoute => "envoy.config.route.v3.Route",
        ApplyTo::Cluster => "envoy.config.cluster.v3.Cluster",
        ApplyTo::ExtensionConfig => "envoy.config.core.v3.TypedExtensionConfig",
        ApplyTo::Bootstrap => "envoy.config.bootstrap.v3.Bootstrap",
        ApplyTo::ListenerFilter => "envoy.config.listener.v3.ListenerFilter",
    })
}

/// As Istio: what is no value of its field is an error. Fields and extensions that are not known
/// here may be those of another Envoy.
fn value_rules(message: &str, value: &Map<String, Value>, at: &FieldPath, report: &mut Report) {
    let Err(error) = meltemi_schema::encode(message, &Value::Object(value.clone())) else {
        return;
    };
    let Ok(below) = FieldPath::from_str(error.path());
    let at = FieldPath([at.0.as_slice(), &below.0].concat());
    match error {
        JsonError::UnknownField {
            name,
            message,
            known,
            ..
        } => {
            let message = format!("is no field of {message}");
            report.warning(&at.field(&name), message, did_you_mean(&name, known));
        }
        JsonError::UnknownType { name, .. } => {
            let message = format!("{name} is not known: what is in it is not looked at");
            report.warning(&at, message, "check the spelling of @type");
        }
        JsonError::Field { reason, .. } => {
            let remedy = format!("write it as {message} has it");
            report.error(&at, reason, remedy);
        }
        JsonError::Bytes(_, error) => report.error(&at, error.to_string(), "correct it"),
    }
}

fn match_rules(
    one: &EnvoyConfigObjectMatch,
    apply_to: ApplyTo,
    at: &FieldPath,
    report: &mut Report,
) {
    use ApplyTo as To;
    let present: Vec<&str> = [
        ("listener", one.listener.is_some()),
        ("routeConfiguration", one.route_configuration.is_some()),
        ("cluster", one.cluster.is_some()),
        ("waypoint", one.waypoint.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, set)| set.then_some(name))
    .collect();
    if present.len() > 1 {
        let message = format!("has {}", present.join(" and "));
        report.error(at, message, "keep one of them");
    }
    let fitting = match apply_to {
        To::Listener | To::FilterChain | To::NetworkFilter | To::HttpFilter => Some("listener"),
        To::RouteConfiguration | To::VirtualHost | To::HttpRoute => Some("routeConfiguration"),
        To::Cluster => Some("cluster"),
        To::Invalid | To::ExtensionConfig | To::Bootstrap | To::ListenerFilter => None,
    };
    if let (Some(fitting), [name]) = (fitting, present.as_slice())
        && *name != fitting
        && *name != "waypoint"
    {
        let message = format!("{apply_to} is not found by {name}");
        report.error(&at.field(*name), message, format!("use {fitting}"));
    }
    let waypoint = one.context == PatchContext::Waypoint;
    if one.waypoint.is_some() && !waypoint {
        let message = "is for context WAYPOINT";
        report.error(&at.field("waypoint"), message, "set context: WAYPOINT");
    } else if one.waypoint.is_none() && waypoint {
        let message = "needs match.waypoint";
        report.error(&at.field("context"), message, "add waypoint");
    }
    if let Some(part) = &one.waypoint
        && part.port_number != 0
    {
        report.port(&at.field("waypoint").field("portNumber"), part.port_number);
    }
    if let Some(proxy) = &one.proxy {
        report.regex(
            &at.field("proxy").field("proxyVersion"),
            &proxy.proxy_version,
        );
    }
    if let Some(listener) = &one.listener {
        listener_match(listener, apply_to, &at.field("listener"), report);
    }
}

fn listener_match(
    listener: &ListenerMatch,
    apply_to: ApplyTo,
    at: &FieldPath,
    report: &mut Report,
) {
    let Some(filter) = listener
        .filter_chain
        .as_ref()
        .and_then(|chain| chain.filter.as_ref())
    else {
        return;
    };
    let at = at.field("filterChain").field("filter");
    if matches!(apply_to, ApplyTo::Listener | ApplyTo::FilterChain) {
        let message = format!("has no effect with {apply_to}");
        report.warning(&at, message, "remove it");
    }
    report.required(&at.field("name"), &filter.name, "name the filter");
    let Some(sub_filter) = &filter.sub_filter else {
        return;
    };
    let at = at.field("subFilter");
    if apply_to != ApplyTo::HttpFilter {
        report.error(&at, "is for applyTo HTTP_FILTER", "remove it");
    } else if !CONNECTION_MANAGER.contains(&filter.name.as_str()) {
        let message = format!("is a filter of {}", CONNECTION_MANAGER[0]);
        report.error(&at, message, "name that in filter.name");
    }
    report.required(&at.field("name"), &sub_filter.name, "name the filter");
}
