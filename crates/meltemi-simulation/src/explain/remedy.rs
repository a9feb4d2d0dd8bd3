//! What becomes of a call that is refused, and what to do about it.

use meltemi_api::{Kind, did_you_mean};
use meltemi_discovery::{Proxy, ProxyKind};

use super::fate::name;
use crate::Tls;
use crate::journey::{Hop, Journey, Role};
use crate::mesh::Mesh;
use crate::rule::Rule;
use crate::verdict::Refusal;

type Said = (String, Option<String>);

pub(super) fn refused(
    mesh: &Mesh,
    from: &Proxy,
    journey: &Journey,
    hop: &Hop,
    refusal: &Refusal,
) -> Said {
    match (refusal, hop.role) {
        (Refusal::NoSuchHost, _) => no_such_host(mesh, from, journey),
        (Refusal::NoListener, _) if from.kind == ProxyKind::Gateway => no_port(mesh, from, journey),
        (Refusal::NoCluster, _) => no_cluster(mesh, from, hop),
        (Refusal::NoFilterChain | Refusal::TlsError | Refusal::MtlsError, Role::Server) => {
            mtls(mesh, journey, hop)
        }
        (Refusal::NoRoute, _) => (
            format!("No route of {} takes the request (404).", table(mesh, hop)),
            Some(
                "add a route without match as the last one, or send what one of them asks for"
                    .to_owned(),
            ),
        ),
        (Refusal::NoVirtualHost, _) => (
            format!(
                "{} has no routes for the host {} (404).",
                hop.proxy, journey.host
            ),
            Some(format!(
                "add {} to the hosts of a VirtualService (or HTTPRoute) of this gateway, and to the hosts of the Gateway's server",
                journey.host
            )),
        ),
        (Refusal::ProtocolError, _) => (
            format!("{}: {refusal}.", hop.proxy),
            Some(
                "call with the protocol that the port declares, or correct the port's name or appProtocol in the Service"
                    .to_owned(),
            ),
        ),
        (Refusal::TlsError | Refusal::MtlsError | Refusal::NoFilterChain, _) => (
            format!("{}: {refusal}.", hop.proxy),
            Some("call with the TLS, and the server name, that the Gateway's server asks for".to_owned()),
        ),
        (Refusal::Denied(_) | Refusal::ConnectionDenied(_), _) => (
            format!("{}: {refusal}.", hop.proxy),
            Some("add a rule that allows it to the AuthorizationPolicy, or call as somebody it allows".to_owned()),
        ),
        (Refusal::BadRequest(..) | Refusal::NoRouteConfig | Refusal::NoListener, _) => {
            (format!("{}: {refusal}.", hop.proxy), None)
        }
    }
}

fn no_such_host(mesh: &Mesh, from: &Proxy, journey: &Journey) -> Said {
    let services = mesh.world().registry.services();
    let same = services
        .iter()
        .find(|service| service.name == journey.host || service.name == first(&journey.host));
    let names: Vec<&str> = services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    let remedy = match same {
        Some(service) => format!(
            "call {}.{}, the service's namespace; if it is that already, a Sidecar or exportTo hides it",
            service.name, service.namespace
        ),
        None => format!(
            "create the Service, or a ServiceEntry for a host outside the mesh; {}",
            did_you_mean(first(&journey.host), names.iter().copied())
        ),
    };
    (
        format!(
            "The name {} does not resolve in namespace {}: the mesh has no such service.",
            journey.host, from.namespace
        ),
        Some(remedy),
    )
}

fn first(host: &str) -> &str {
    host.split('.').next().unwrap_or(host)
}

fn no_port(mesh: &Mesh, gateway: &Proxy, journey: &Journey) -> Said {
    let own: Vec<String> = mesh
        .world()
        .gateways
        .iter()
        .filter(|object| {
            let targets = meltemi_discovery::targets(mesh.world(), gateway);
            let served = &object.served;
            served.selects(&gateway.namespace, &gateway.labels, &targets)
        })
        .map(|object| {
            let ports = object
                .spec
                .servers
                .iter()
                .filter_map(|server| server.port.as_ref());
            let ports: Vec<String> = ports.map(|port| port.number.to_string()).collect();
            let field = match object.object.kind {
                Kind::Gateway => "spec.servers".to_owned(),
                _ => object.field(0, ""),
            };
            let rule = Rule::new(object.object.clone(), field);
            format!("{} has {}", mesh.cite(&rule), ports.join(", "))
        })
        .collect();
    let known = match own.is_empty() {
        true => "no Gateway selects it".to_owned(),
        false => own.join("; "),
    };
    (
        format!(
            "Gateway {} does not listen on port {}: {known}.",
            gateway.id, journey.port
        ),
        Some(format!(
            "add a server (or listener) with port {} to a Gateway, and a VirtualService (or HTTPRoute) with routes to it",
            journey.port
        )),
    )
}

/// Translation has said what is wrong with the route's destination.
fn no_cluster(mesh: &Mesh, from: &Proxy, hop: &Hop) -> Said {
    let to: Vec<String> = hop
        .verdict
        .destinations()
        .iter()
        .map(|to| name(&to.cluster))
        .collect();
    let to = to.join(", ");
    let Some(rule) = &hop.verdict.rule else {
        return (format!("{to} does not exist (503)."), None);
    };
    // As translation has it.
    let status = match rule.object.kind {
        Kind::HttpRoute | Kind::GrpcRoute => 500,
        _ => 503,
    };
    let base = rule.field.split(".match").next().unwrap_or_default();
    let issue = mesh
        .world()
        .issues
        .iter()
        .find(|issue| issue.object == rule.object && issue.field.starts_with(base));
    let proxy = match hop.proxy == from.id {
        true => Some(from.clone()),
        false => mesh.proxy_named(&hop.proxy),
    };
    let own = match proxy {
        Some(proxy) => mesh.simulation(&proxy).issues().to_vec(),
        None => Vec::new(),
    };
    let issue = own
        .iter()
        .find(|issue| issue.object == rule.object && issue.field.starts_with(base))
        .or(issue);
    let at = |field: &str| mesh.cite(&Rule::new(rule.object.clone(), field.to_owned()));
    match issue {
        Some(issue) => {
            let (what, remedy) = split(&issue.message);
            (
                format!("{} leads nowhere: {what} ({status}).", at(&issue.field)),
                remedy,
            )
        }
        None => (
            format!(
                "{} sends it to {to}, which does not exist ({status}).",
                at(&rule.field)
            ),
            None,
        ),
    }
}

/// A finding's text: what is wrong; what to do. What happens meanwhile is said elsewhere.
fn split(message: &str) -> (String, Option<String>) {
    let message = message.split(". Requests").next().unwrap_or(message);
    match message.split_once("; ") {
        Some((what, remedy)) => (what.to_owned(), Some(remedy.to_owned())),
        None => (message.to_owned(), None),
    }
}

fn mtls(mesh: &Mesh, journey: &Journey, hop: &Hop) -> Said {
    let server = match mesh.mtls_rule(&hop.proxy) {
        Some(rule) => mesh.cite(&rule),
        None => "the server's mode".to_owned(),
    };
    let client = journey
        .hops
        .iter()
        .flat_map(|hop| hop.verdict.destinations())
        .find(|to| Some(&to.cluster) == hop.through.as_ref())
        .and_then(|to| mesh.tls_setting(to.rule.as_ref()?));
    let (wants, sends) = match hop.tls {
        Tls::Plaintext => ("takes mutual TLS only", "plaintext"),
        Tls::Tls => ("takes mutual TLS only", "TLS of its own"),
        Tls::Mtls => ("takes plaintext only", "mutual TLS"),
    };
    let (because, remedy) = match client {
        Some(rule) => (
            format!(" because of {}", mesh.cite(&rule)),
            format!(
                "remove trafficPolicy.tls from {}: the mesh then chooses what the server takes",
                rule.object
            ),
        ),
        None => (
            String::new(),
            "let the client have a sidecar, or set the server's PeerAuthentication to PERMISSIVE"
                .to_owned(),
        ),
    };
    (
        format!(
            "{} refuses it: {server} {wants}, and the client's proxy sends {sends}{because}.",
            hop.proxy
        ),
        Some(remedy),
    )
}

/// The VirtualServices whose routes were looked at.
fn table(mesh: &Mesh, hop: &Hop) -> String {
    let mut named: Vec<String> = Vec::new();
    for passed in &hop.verdict.passed_over {
        if let Some(rule) = &passed.rule {
            let whole = Rule::new(rule.object.clone(), String::new());
            let text = mesh.cite(&whole);
            if !named.contains(&text) {
                named.push(text);
            }
        }
    }
    match named.is_empty() {
        true => format!("{} ({})", hop.proxy, Kind::VirtualService.plural()),
        false => named.join(", "),
    }
}
