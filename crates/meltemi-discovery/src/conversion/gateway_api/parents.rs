//! What routes are attached to: listeners of Gateways, and for calls within the mesh Services and
//! ServiceEntries.

use meltemi_api::ObjectKey;
use meltemi_api::gateway_api::{GROUP, ParentReference};

use super::super::Source;
use super::super::issue::Problem;
use super::Context;
use super::gateways::{self, Gateways};
use super::listeners::Listener;
use crate::hosts;
use crate::world::virtual_service::MESH;

/// What all kinds of routes have in common.
pub struct Route<'a> {
    pub key: ObjectKey,
    pub created: String,
    pub parents: &'a [ParentReference],
    /// Empty: those of the listeners.
    pub hostnames: &'a [String],
}

impl<'a> Route<'a> {
    pub fn new<T>(
        source: &Source<'a, T>,
        parents: &'a [ParentReference],
        hostnames: &'a [String],
    ) -> Self {
        Self {
            key: source.key.clone(),
            created: source.created.clone(),
            parents,
            hostnames,
        }
    }

    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// Oldest first, then by namespace and name, as the Gateway API has it.
    pub fn age(&self) -> (&str, &str, &str) {
        (&self.created, &self.key.namespace, &self.key.name)
    }
}

/// A parent of a route, and where the route takes effect through it.
pub struct Parent<'a> {
    pub reference: &'a ParentReference,
    pub targets: Vec<Target>,
    pub rejected: Option<Problem>,
}

/// Where a route takes effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The Gateway as VirtualServices call it, or `mesh`.
    pub gateway: String,
    /// For the mesh: the port that is called; any when absent.
    pub port: Option<u32>,
    pub hosts: Vec<String>,
    /// TLS ends there, with something else than HTTP inside.
    pub terminates_tls: bool,
    /// For the mesh: whether all namespaces see it. Routes of the Service's own namespace are for
    /// everybody, those of others for their own namespace.
    pub producer: bool,
}

impl Target {
    pub fn in_mesh(&self) -> bool {
        self.gateway == MESH
    }
}

/// Attaches a route to its parents; those of other controllers are left out.
pub fn attach<'a>(
    context: &Context<'_>,
    gateways: &mut Gateways<'_>,
    route: &Route<'a>,
) -> Vec<Parent<'a>> {
    let parents = route.parents.iter().enumerate();
    parents
        .filter_map(|(index, reference)| {
            let field = format!("spec.parentRefs[{index}]");
            let namespace = match reference.namespace.as_str() {
                "" => route.namespace(),
                other => other,
            };
            let group = reference.group.as_deref().unwrap_or(GROUP);
            let kind = reference.kind.as_deref().unwrap_or("Gateway");
            let attached = match (group, kind) {
                (GROUP, "Gateway") => {
                    if gateways.is_foreign(namespace, &reference.name) {
                        return None;
                    }
                    to_gateway(gateways, route, reference, namespace, &field)
                }
                ("", "Service") => to_service(context, route, reference, namespace, &field),
                ("networking.istio.io", "ServiceEntry") => {
                    to_entry(context, route, reference, namespace, &field)
                }
                _ => Err(Problem::new(
                    "InvalidKind",
                    format!("{field}.kind"),
                    format!("{kind} cannot be the parent of a route here; name a Gateway, a Service or a ServiceEntry"),
                )),
            };
            let (targets, rejected) = match attached {
                Ok(targets) => (targets, None),
                Err(problem) => (Vec::new(), Some(problem)),
            };
            Some(Parent {
                reference,
                targets,
                rejected,
            })
        })
        .collect()
}

fn to_service(
    context: &Context<'_>,
    route: &Route<'_>,
    reference: &ParentReference,
    namespace: &str,
    field: &str,
) -> Result<Vec<Target>, Problem> {
    let name = &reference.name;
    let Some(service) = context.place.service(namespace, name) else {
        return Err(Problem::new(
            "NoMatchingParent",
            format!("{field}.name"),
            format!("there is no Service {namespace}/{name}; create it or correct the name"),
        ));
    };
    let has_port = |port: u32| u16::try_from(port).is_ok_and(|port| service.port(port).is_some());
    if let Some(port) = reference.port.filter(|port| !has_port(*port)) {
        let known: Vec<String> = service.ports.iter().map(|p| p.number.to_string()).collect();
        return Err(Problem::new(
            "NoMatchingParent",
            format!("{field}.port"),
            format!(
                "Service {namespace}/{name} has no port {port}; it has {}",
                known.join(", ")
            ),
        ));
    }
    Ok(vec![Target {
        gateway: MESH.to_owned(),
        port: reference.port,
        hosts: vec![service.hostname.to_string()],
        terminates_tls: false,
        producer: namespace == route.namespace(),
    }])
}

fn to_entry(
    context: &Context<'_>,
    route: &Route<'_>,
    reference: &ParentReference,
    namespace: &str,
    field: &str,
) -> Result<Vec<Target>, Problem> {
    let name = &reference.name;
    let named =
        |entry: &&Source<'_, _>| entry.key.namespace == namespace && entry.key.name == *name;
    let Some(entry) = context.entries.iter().find(named) else {
        return Err(Problem::new(
            "NoMatchingParent",
            format!("{field}.name"),
            format!("there is no ServiceEntry {namespace}/{name}; create it or correct the name"),
        ));
    };
    Ok(vec![Target {
        gateway: MESH.to_owned(),
        port: reference.port,
        hosts: entry.spec.hosts.clone(),
        terminates_tls: false,
        producer: namespace == route.namespace(),
    }])
}

fn to_gateway(
    gateways: &mut Gateways<'_>,
    route: &Route<'_>,
    reference: &ParentReference,
    namespace: &str,
    field: &str,
) -> Result<Vec<Target>, Problem> {
    let name = &reference.name;
    let Some(position) = gateways.find(namespace, name) else {
        return Err(Problem::new(
            "NoMatchingParent",
            format!("{field}.name"),
            format!("there is no Gateway {namespace}/{name}; create it or correct the name"),
        ));
    };
    let gateway = &mut gateways.ours[position];
    let meant = |listener: &Listener<'_>| {
        (reference.section_name.is_empty() || reference.section_name == listener.name())
            && reference.port.is_none_or(|port| port == listener.spec.port)
    };
    if !gateway.listeners.iter().any(meant) {
        let known: Vec<String> = gateway
            .listeners
            .iter()
            .map(|listener| format!("{} (port {})", listener.name(), listener.spec.port))
            .collect();
        return Err(Problem::new(
            "NoMatchingParent",
            field,
            format!(
                "Gateway {namespace}/{name} has no such listener; it has {}",
                known.join(", ")
            ),
        ));
    }
    let mut targets = Vec::new();
    let mut rejected = None;
    for index in 0..gateway.listeners.len() {
        if !meant(&gateway.listeners[index]) {
            continue;
        }
        let full = format!("{namespace}/{name}");
        match to_listener(&gateway.listeners, index, route, &full, field) {
            Ok(hosts) => {
                let listener = &mut gateway.listeners[index];
                listener.attached += 1;
                let generated = gateways::generated(&gateway.source.key, listener.name());
                targets.push(Target {
                    gateway: format!("{namespace}/{generated}"),
                    port: None,
                    hosts,
                    terminates_tls: listener.terminates_tls(),
                    producer: true,
                });
            }
            Err(problem) => {
                rejected.get_or_insert(problem);
            }
        }
    }
    match rejected {
        Some(problem) if targets.is_empty() => Err(problem),
        _ => Ok(targets),
    }
}

/// The host names of a route that a listener serves.
fn to_listener(
    listeners: &[Listener<'_>],
    index: usize,
    route: &Route<'_>,
    gateway: &str,
    field: &str,
) -> Result<Vec<String>, Problem> {
    let listener = &listeners[index];
    let called = format!("listener {:?} of Gateway {gateway}", listener.name());
    if !listener.kinds.contains(&route.key.kind) {
        let allowed: Vec<&str> = listener.kinds.iter().map(|kind| kind.as_str()).collect();
        return Err(Problem::new(
            "NotAllowedByListeners",
            field,
            format!(
                "{called} takes {} only, not {}s",
                allowed.join(" and "),
                route.key.kind
            ),
        ));
    }
    if !listener.allows(route.namespace()) {
        return Err(Problem::new(
            "NotAllowedByListeners",
            field,
            format!(
                "{called} takes no routes of namespace {}; its allowedRoutes.namespaces must allow them",
                route.namespace()
            ),
        ));
    }
    if listener.takes_one_route() && listener.attached > 0 {
        return Err(Problem::new(
            "NotAllowedByListeners",
            field,
            format!(
                "{called} has an older route already, and nothing tells their connections apart; use another port"
            ),
        ));
    }
    let own = listener.hostname();
    let every = ["*".to_owned()];
    let wanted = match route.hostnames {
        [] => &every[..],
        names => names,
    };
    let served: Vec<String> = wanted
        .iter()
        .filter(|name| hosts::overlap(own, name))
        .filter(|name| !served_by_another(listeners, index, name))
        .cloned()
        .collect();
    if served.is_empty() {
        return Err(Problem::new(
            "NoMatchingListenerHostname",
            "spec.hostnames",
            format!(
                "{called} serves {own}, none of {}; correct one of the two",
                wanted.join(", ")
            ),
        ));
    }
    Ok(served)
}

/// Whether another listener of the same port and protocol has a narrower host name that covers a
/// route's: requests for it are that listener's alone.
fn served_by_another(listeners: &[Listener<'_>], index: usize, name: &str) -> bool {
    let listener = &listeners[index];
    let own = listener.hostname();
    // What of the name is served here.
    let name = if hosts::covers(own, name) { name } else { own };
    listeners.iter().enumerate().any(|(position, other)| {
        position != index
            && (other.spec.port, &other.spec.protocol)
                == (listener.spec.port, &listener.spec.protocol)
            && hosts::covers(other.hostname(), name)
            && hosts::rank(other.hostname()) < hosts::rank(own)
    })
}
