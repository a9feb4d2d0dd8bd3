//! VirtualServices with full host names and their delegates' routes in place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meltemi_api::ObjectKey;
use meltemi_api::networking::{
    Destination, HttpMatchRequest, HttpRoute, StringMatch, VirtualService,
};
use meltemi_registry::Visibility;

use super::named::Named;
use crate::hosts;
use crate::issue::Issues;
use crate::rule::Rule;

/// The name under which all sidecars are addressed.
pub const MESH: &str = "mesh";

/// A VirtualService ready for translation.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedVirtualService {
    pub key: ObjectKey,
    pub created: String,
    /// `mesh`, or `NAMESPACE/NAME` of Gateways.
    pub gateways: BTreeSet<String>,
    pub visibility: Visibility,
    /// Hosts, destinations and mirrors in full; delegates replaced by their routes.
    pub spec: VirtualService,
    /// Where each of `spec.http` stands: in this object, in a delegate, or in the object that it
    /// was made from.
    pub rules: Vec<Rule>,
    /// Where each of `spec.tls` stands.
    pub tls_rules: Vec<Rule>,
    /// Where each of `spec.tcp` stands.
    pub tcp_rules: Vec<Rule>,
    pub semantics: Semantics,
}

/// Whose rules hold for what an object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Semantics {
    /// A VirtualService.
    Istio,
    /// Made from a route of the Gateway API: prefixes of paths are whole segments, and a request
    /// without a backend gets 500.
    Gateway,
    /// Made from an Ingress: prefixes of paths are whole segments.
    Ingress,
}

impl ResolvedVirtualService {
    pub fn in_mesh(&self) -> bool {
        self.gateways.contains(MESH)
    }

    /// Whether a match's own gateways (all of the object's when empty) name this one.
    pub fn gateway_matches(&self, own: &[String], gateway: &str) -> bool {
        if own.is_empty() {
            self.gateways.contains(gateway)
        } else {
            own.iter()
                .any(|name| gateway_name(name, &self.key.namespace) == gateway)
        }
    }

    /// The rule of an alternative of a TLS route.
    pub fn tls_rule(&self, index: usize, alternative: usize) -> Rule {
        let rule = &self.tls_rules[index];
        if rule.object == self.key {
            let field = format!("{}.match[{alternative}]", rule.field);
            return Rule {
                field,
                ..rule.clone()
            };
        }
        rule.clone()
    }

    /// Whether a namespace has it for its own calls of services of others: a route of the Gateway
    /// API there has precedence over those of the services' namespace.
    pub fn is_consumers(&self) -> bool {
        let own = Visibility::Namespaces([self.key.namespace.clone()].into());
        self.semantics == Semantics::Gateway && self.visibility == own
    }

    /// Oldest first, then by name and namespace, as Istio resolves conflicts.
    pub fn age(&self) -> (&str, &str, &str) {
        (&self.created, &self.key.name, &self.key.namespace)
    }

    /// Whether both differ in nothing but in what they do with HTTP requests; these lead to the
    /// same hosts.
    pub fn differs_in_http_only(&self, other: &Self) -> bool {
        let Self {
            key,
            created,
            gateways,
            visibility,
            spec,
            rules: _,
            tls_rules,
            tcp_rules,
            semantics,
        } = self;
        let VirtualService {
            hosts,
            gateways: names,
            http: _,
            tls,
            tcp,
            export_to,
        } = spec;
        (key, created, gateways, visibility)
            == (
                &other.key,
                &other.created,
                &other.gateways,
                &other.visibility,
            )
            && (tls_rules, tcp_rules, semantics)
                == (&other.tls_rules, &other.tcp_rules, &other.semantics)
            && (hosts, names, tls, tcp, export_to)
                == (
                    &other.spec.hosts,
                    &other.spec.gateways,
                    &other.spec.tls,
                    &other.spec.tcp,
                    &other.spec.export_to,
                )
            && self.destinations() == other.destinations()
    }

    /// The hosts that routes lead to.
    pub fn destinations(&self) -> BTreeSet<&str> {
        let http = self.spec.http.iter().flat_map(|route| {
            let mirrors = route.mirrors.iter().map(|mirror| &mirror.destination);
            route
                .route
                .iter()
                .map(|route| &route.destination)
                .chain(&route.mirror)
                .chain(mirrors)
        });
        let tcp = self.spec.tcp.iter().flat_map(|route| &route.route);
        let tls = self.spec.tls.iter().flat_map(|route| &route.route);
        http.chain(tcp.chain(tls).map(|route| &route.destination))
            .map(|destination| destination.host.as_str())
            .collect()
    }
}

/// A Gateway's name in full.
pub fn gateway_name(name: &str, namespace: &str) -> String {
    if name == MESH || name.contains('/') {
        match name.strip_prefix("./") {
            Some(own) => format!("{namespace}/{own}"),
            None => name.to_owned(),
        }
    } else {
        format!("{namespace}/{name}")
    }
}

/// Resolves all VirtualServices, oldest first. Delegates (objects without hosts) only appear
/// through the ones that name them.
pub fn resolve_all(
    objects: &[Named<VirtualService>],
    default_export: &[String],
    domain: &str,
    issues: &mut Issues,
) -> Vec<Arc<ResolvedVirtualService>> {
    let by_name: BTreeMap<(&str, &str), &Named<VirtualService>> = objects
        .iter()
        .map(|object| ((object.namespace(), object.name()), object))
        .collect();
    objects
        .iter()
        .filter(|object| !object.spec.hosts.is_empty())
        .map(|object| {
            let namespace = object.namespace();
            let mut spec = VirtualService::clone(&object.spec);
            for host in &mut spec.hosts {
                *host = hosts::resolve(host, namespace, domain);
            }
            let routes = std::mem::take(&mut spec.http);
            let mut rules = Vec::with_capacity(routes.len());
            for (position, route) in routes.into_iter().enumerate() {
                let field = format!("spec.http[{position}]");
                for (route, rule) in delegated(route, object, &by_name, domain, field, issues) {
                    spec.http.push(route);
                    rules.push(rule);
                }
            }
            for route in &mut spec.tcp {
                for destination in &mut route.route {
                    resolve_destination(&mut destination.destination, namespace, domain);
                }
            }
            for route in &mut spec.tls {
                for destination in &mut route.route {
                    resolve_destination(&mut destination.destination, namespace, domain);
                }
            }
            let mut gateways: BTreeSet<String> = spec
                .gateways
                .iter()
                .map(|gateway| gateway_name(gateway, namespace))
                .collect();
            if gateways.is_empty() {
                gateways.insert(MESH.to_owned());
            }
            let export = if spec.export_to.is_empty() {
                default_export
            } else {
                &spec.export_to
            };
            let rules_of = |name: &str, count: usize| {
                let rule = |index| Rule {
                    object: object.key.clone(),
                    field: format!("spec.{name}[{index}]"),
                };
                (0..count).map(rule).collect::<Vec<_>>()
            };
            Arc::new(ResolvedVirtualService {
                key: object.key.clone(),
                created: object.created.clone(),
                gateways,
                visibility: Visibility::parse(export.iter().map(String::as_str), namespace),
                tls_rules: rules_of("tls", spec.tls.len()),
                tcp_rules: rules_of("tcp", spec.tcp.len()),
                semantics: Semantics::Istio,
                spec,
                rules,
            })
        })
        .collect()
}

/// A route with its destinations in full; a delegating one becomes the delegate's routes.
fn delegated(
    mut route: HttpRoute,
    root: &Named<VirtualService>,
    by_name: &BTreeMap<(&str, &str), &Named<VirtualService>>,
    domain: &str,
    field: String,
    issues: &mut Issues,
) -> Vec<(HttpRoute, Rule)> {
    let Some(delegate) = route.delegate.take() else {
        resolve_route(&mut route, root.namespace(), domain);
        let rule = Rule {
            object: root.key.clone(),
            field,
        };
        return vec![(route, rule)];
    };
    let field = format!("{field}.delegate");
    let namespace = if delegate.namespace.is_empty() {
        root.namespace()
    } else {
        &delegate.namespace
    };
    let Some(target) = by_name.get(&(namespace, delegate.name.as_str())) else {
        issues.add(&root.key, &field, format!(
            "VirtualService {namespace}/{} does not exist; create it or remove the delegate. Requests that match this route get 404",
            delegate.name
        ));
        return Vec::new();
    };
    if !target.spec.hosts.is_empty() {
        issues.add(&root.key, &field, format!(
            "VirtualService {namespace}/{} has hosts and so cannot be a delegate; remove its hosts. Requests that match this route get 404",
            delegate.name
        ));
        return Vec::new();
    }
    let visible = Visibility::parse(
        target.spec.export_to.iter().map(String::as_str),
        target.namespace(),
    );
    if !visible.includes(root.namespace()) {
        issues.add(
            &root.key,
            field,
            format!(
                "VirtualService {namespace}/{} is not exported to namespace {}; add it to exportTo",
                delegate.name,
                root.namespace()
            ),
        );
        return Vec::new();
    }
    let mut merged = Vec::new();
    for (position, inner) in target.spec.http.iter().enumerate() {
        if inner.delegate.is_some() {
            issues.add(
                &target.key,
                format!("spec.http[{position}].delegate"),
                "a delegate cannot delegate again; move the routes into this object",
            );
            continue;
        }
        let matches = merge_matches(&route.matches, &inner.matches);
        if matches.is_empty() && !(route.matches.is_empty() && inner.matches.is_empty()) {
            issues.add(
                &target.key,
                format!("spec.http[{position}].match"),
                format!(
                    "conflicts with the match of {} that delegates here; this route is unreachable through it",
                    root.key
                ),
            );
            continue;
        }
        let mut inner = inner.clone();
        inner.matches = matches;
        resolve_route(&mut inner, target.namespace(), domain);
        merge_settings(&route, &mut inner);
        let rule = Rule {
            object: target.key.clone(),
            field: format!("spec.http[{position}]"),
        };
        merged.push((inner, rule));
    }
    merged
}

/// The root's settings apply where the delegate has none (Istio's merge).
fn merge_settings(root: &HttpRoute, inner: &mut HttpRoute) {
    if inner.name.is_empty() {
        inner.name.clone_from(&root.name);
    } else if !root.name.is_empty() {
        inner.name = format!("{}-{}", root.name, inner.name);
    }
    macro_rules! inherit {
        ($($field:ident),*) => { $(
            if inner.$field.is_none() {
                inner.$field.clone_from(&root.$field);
            }
        )* };
    }
    inherit!(
        rewrite,
        direct_response,
        timeout,
        retries,
        fault,
        mirror,
        mirror_percent,
        mirror_percentage,
        cors_policy,
        headers
    );
    if inner.mirrors.is_empty() {
        inner.mirrors.clone_from(&root.mirrors);
    }
}

/// Every root match with every inner one, as far as they do not contradict.
fn merge_matches(root: &[HttpMatchRequest], inner: &[HttpMatchRequest]) -> Vec<HttpMatchRequest> {
    if root.is_empty() {
        return inner.to_vec();
    }
    if inner.is_empty() {
        return root.to_vec();
    }
    inner
        .iter()
        .flat_map(|inner| root.iter().filter_map(move |root| merge_match(root, inner)))
        .collect()
}

fn merge_match(root: &HttpMatchRequest, inner: &HttpMatchRequest) -> Option<HttpMatchRequest> {
    let mut merged = root.clone();
    merged.name = match (root.name.is_empty(), inner.name.is_empty()) {
        (false, false) => format!("{}-{}", root.name, inner.name),
        (true, _) => inner.name.clone(),
        (false, true) => root.name.clone(),
    };
    merged.uri = narrow(root.uri.as_ref(), inner.uri.as_ref())?;
    merged.method = narrow(root.method.as_ref(), inner.method.as_ref())?;
    merged.scheme = narrow(root.scheme.as_ref(), inner.scheme.as_ref())?;
    merged.authority = narrow(root.authority.as_ref(), inner.authority.as_ref())?;
    for (from, to) in [
        (&inner.headers, &mut merged.headers),
        (&inner.without_headers, &mut merged.without_headers),
        (&inner.query_params, &mut merged.query_params),
    ] {
        for (name, value) in from {
            if to.get(name).is_some_and(|existing| existing != value) {
                return None;
            }
            to.insert(name.clone(), value.clone());
        }
    }
    for (label, value) in &inner.source_labels {
        if merged.source_labels.get(label).is_some_and(|v| v != value) {
            return None;
        }
        merged.source_labels.insert(label.clone(), value.clone());
    }
    merged.port = match (root.port, inner.port) {
        (root, 0) => root,
        (0, inner) => inner,
        (root, inner) if root == inner => root,
        _ => return None,
    };
    if !inner.source_namespace.is_empty() {
        if !root.source_namespace.is_empty() && root.source_namespace != inner.source_namespace {
            return None;
        }
        merged.source_namespace.clone_from(&inner.source_namespace);
    }
    merged.ignore_uri_case = root.ignore_uri_case || inner.ignore_uri_case;
    if merged.stat_prefix.is_empty() {
        merged.stat_prefix.clone_from(&inner.stat_prefix);
    }
    Some(merged)
}

/// The narrower of two conditions; `None` where nothing satisfies both.
fn narrow(root: Option<&StringMatch>, inner: Option<&StringMatch>) -> Option<Option<StringMatch>> {
    use StringMatch::{Exact, Prefix};
    Some(match (root, inner) {
        (None, inner) => inner.cloned(),
        (root, None) => root.cloned(),
        (Some(root), Some(inner)) if root == inner => Some(inner.clone()),
        (Some(Prefix(root)), Some(Exact(value) | Prefix(value))) if value.starts_with(root) => {
            inner.cloned()
        }
        _ => return None,
    })
}

fn resolve_route(route: &mut HttpRoute, namespace: &str, domain: &str) {
    for destination in &mut route.route {
        resolve_destination(&mut destination.destination, namespace, domain);
    }
    if let Some(mirror) = &mut route.mirror {
        resolve_destination(mirror, namespace, domain);
    }
    for mirror in &mut route.mirrors {
        resolve_destination(&mut mirror.destination, namespace, domain);
    }
}

fn resolve_destination(destination: &mut Destination, namespace: &str, domain: &str) {
    destination.host = hosts::resolve(&destination.host, namespace, domain);
}
