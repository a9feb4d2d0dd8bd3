//! What becomes of a call that is not refused.

use crate::Tls;
use crate::effects::{Action, Destination, Effects, State};
use crate::journey::{Hop, Journey, Role};
use crate::mesh::Mesh;

pub(super) fn sentence(mesh: &Mesh, journey: &Journey) -> String {
    let mut parts: Vec<String> = Vec::new();
    for hop in journey.hops.iter().filter(|hop| hop.role != Role::Server) {
        parts.push(of_hop(mesh, journey, hop));
    }
    if let Some(server) = journey.hops.iter().find(|hop| hop.role == Role::Server) {
        parts.push(match server.tls {
            Tls::Mtls => "the server's proxy lets it in, by mutual TLS".to_owned(),
            Tls::Tls | Tls::Plaintext => "the server's proxy lets it in, in plaintext".to_owned(),
        });
    }
    let text = parts.join("; ");
    let mut rest = text.chars();
    match rest.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), rest.as_str()),
        None => text,
    }
}

/// What to do where the call is on its way to nobody.
pub(super) fn remedy(mesh: &Mesh, journey: &Journey) -> Option<String> {
    let hop = journey.hops.first()?;
    if hop.verdict.virtual_host.as_deref() == Some("block_all")
        || hop.verdict.cluster() == Some("BlackHoleCluster")
    {
        let sidecar = mesh
            .world()
            .sidecars
            .iter()
            .find(|sidecar| sidecar.spec.outbound_traffic_policy.is_some());
        let of = sidecar.map_or_else(String::new, |sidecar| format!(" (or in {})", sidecar.key));
        return Some(format!(
            "declare {} in a ServiceEntry, or set outboundTrafficPolicy.mode to ALLOW_ANY in the MeshConfig{of}",
            journey.host
        ));
    }
    let mut hops = journey
        .hops
        .iter()
        .flat_map(|hop| hop.verdict.destinations());
    let empty = hops.find(|to| to.state == State::NoEndpoints)?;
    Some(format!(
        "let a ready workload carry the labels that {} selects",
        name(&empty.cluster)
    ))
}

fn of_hop(mesh: &Mesh, journey: &Journey, hop: &Hop) -> String {
    let verdict = &hop.verdict;
    let who = match &verdict.rule {
        Some(rule) => mesh.cite(rule),
        None if hop.role == Role::Gateway => format!("gateway {}", hop.proxy),
        None => "no rule has a say: it".to_owned(),
    };
    let effects = effects(&verdict.effects);
    match &verdict.action {
        Some(Action::Respond { status }) if verdict.route.as_deref() == Some("block_all") => {
            format!(
                "the client's proxy answers {status}: no service of the mesh has the host {}, and outboundTrafficPolicy is REGISTRY_ONLY",
                journey.host
            )
        }
        Some(Action::Respond { status }) => format!("{who} answers {status}{effects}"),
        Some(Action::Redirect(redirect)) => {
            let mut to = String::new();
            for (name, part) in [
                ("scheme", &redirect.scheme),
                ("host", &redirect.host),
                ("path", &redirect.path),
            ] {
                if let Some(part) = part {
                    to.push_str(&format!(" {name} {part}"));
                }
            }
            format!("{who} redirects it with {} to{to}", redirect.status)
        }
        Some(Action::Forward { clusters }) => forward(journey, hop, &who, clusters, &effects),
        None => who,
    }
}

fn forward(
    journey: &Journey,
    hop: &Hop,
    who: &str,
    clusters: &[Destination],
    effects: &str,
) -> String {
    match hop.verdict.cluster() {
        Some("PassthroughCluster") if journey.known => {
            return format!(
                "the connection goes on unchanged to the address of {}: what the mesh has at port {} takes plaintext HTTP only, and rules for HTTP have no say",
                journey.host, journey.port
            );
        }
        Some("PassthroughCluster") => {
            return format!(
                "no service of the mesh has the host {}: the connection goes on to the address that the client has for it (outboundTrafficPolicy ALLOW_ANY)",
                journey.host
            );
        }
        Some("AllowAnyDynamicDNSCluster") => {
            return format!(
                "no service of the mesh has the host {}: the client's proxy resolves it, and the request goes to its address (outboundTrafficPolicy ALLOW_ANY_DYNAMIC_DNS)",
                journey.host
            );
        }
        Some("BlackHoleCluster") => {
            return format!(
                "the connection is closed: no service of the mesh has the host {}, and outboundTrafficPolicy is REGISTRY_ONLY",
                journey.host
            );
        }
        _ => {}
    }
    let total: u32 = clusters.iter().map(|to| to.weight).sum();
    let to: Vec<String> = clusters
        .iter()
        .map(|to| {
            let share = match clusters.len() {
                1 => String::new(),
                _ => format!(
                    "{:.0}% to ",
                    f64::from(to.weight) * 100.0 / f64::from(total.max(1))
                ),
            };
            format!("{share}{}{}", name(&to.cluster), state(to.state))
        })
        .collect();
    let sends = match (clusters.len(), &hop.verdict.rule) {
        (1, Some(_)) => "sends it to ",
        (1, None) if hop.role == Role::Gateway => "sends it to ",
        (1, None) => "goes to ",
        _ => "sends ",
    };
    format!("{who} {sends}{}{effects}", to.join(", "))
}

fn state(state: State) -> String {
    match state {
        State::Unknown => ", which does not exist (503)".to_owned(),
        State::NoEndpoints => ", which has no endpoint (503)".to_owned(),
        State::Endpoints(1) => " (1 endpoint)".to_owned(),
        State::Endpoints(number) => format!(" ({number} endpoints)"),
        State::OriginalDestination => " at the address that the client called".to_owned(),
    }
}

/// A cluster as people call it.
pub(super) fn name(cluster: &str) -> String {
    let parts: Vec<&str> = cluster.split('|').collect();
    match parts[..] {
        ["outbound", port, "", host] => format!("{host} port {port}"),
        ["outbound", port, subset, host] => format!("subset {subset} of {host} port {port}"),
        ["inbound", port, ..] => format!("the application's port {port}"),
        _ => cluster.to_owned(),
    }
}

fn effects(effects: &Effects) -> String {
    let mut said: Vec<String> = Vec::new();
    if let Some(fault) = &effects.fault {
        if let (Some(delay), Some(percent)) = (fault.delay, fault.delay_percent) {
            said.push(format!("{percent:.0}% of requests delayed by {delay:?}"));
        }
        if let (Some(abort), Some(percent)) = (&fault.abort, fault.abort_percent) {
            said.push(format!("{percent:.0}% of requests answered with {abort}"));
        }
    }
    if let Some(timeout) = effects.timeout {
        said.push(format!("a timeout of {timeout:?}"));
    }
    if let Some(host) = &effects.host_rewrite {
        said.push(format!("host {host}"));
    }
    if let Some(path) = &effects.path_rewrite {
        said.push(format!("the path rewritten to {path}"));
    }
    for mirror in &effects.mirrors {
        let percent = mirror.percent;
        said.push(format!(
            "{percent:.0}% mirrored to {}",
            name(&mirror.cluster)
        ));
    }
    let changed = effects.request_headers.len() + effects.response_headers.len();
    if changed > 0 {
        said.push(format!("{changed} header changes"));
    }
    match said.is_empty() {
        true => String::new(),
        false => format!(", with {}", said.join(", ")),
    }
}
