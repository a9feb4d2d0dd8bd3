//! Listeners: a server each, and which routes may be attached.

use meltemi_api::Kind;
use meltemi_api::gateway_api::{
    AllowedRoutes, FromNamespaces, GROUP, Gateway, Listener as Spec, TlsMode,
};
use meltemi_api::networking::{Port, Server};
use serde_json::{Value, json};

use super::super::Source;
use super::super::issue::Problem;
use super::super::status::{condition, negative};
use super::{Context, selector, tls};
use crate::issue::Issues;

/// A listener of a Gateway.
pub struct Listener<'a> {
    pub spec: &'a Spec,
    /// `None`: it is not opened.
    pub server: Option<Server>,
    /// Kinds of routes that may be attached.
    pub kinds: Vec<Kind>,
    /// Namespaces of routes that may be attached; `*` for all.
    namespaces: Vec<String>,
    /// Routes that are attached.
    pub attached: u32,
    rejected: Option<Problem>,
    conflict: Option<Problem>,
    unresolved: Option<Problem>,
}

impl Listener<'_> {
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The host name; `*` for every one.
    pub fn hostname(&self) -> &str {
        match self.spec.hostname.as_str() {
            "" => "*",
            name => name,
        }
    }

    /// Whether routes of a namespace may be attached.
    pub fn allows(&self, namespace: &str) -> bool {
        self.namespaces
            .iter()
            .any(|allowed| allowed == "*" || allowed == namespace)
    }

    /// Whether TLS ends here, with something else than HTTP inside.
    pub fn terminates_tls(&self) -> bool {
        self.spec.protocol == "TLS"
            && self
                .spec
                .tls
                .as_ref()
                .is_none_or(|tls| tls.mode == TlsMode::Terminate)
    }

    /// Whether it has room for one route only: nothing tells connections apart.
    pub fn takes_one_route(&self) -> bool {
        self.spec.protocol == "TCP" || self.terminates_tls()
    }

    pub fn status(&self, unassigned: Option<&Problem>) -> Value {
        let kinds: Vec<Value> = self
            .kinds
            .iter()
            .map(|kind| json!({"group": GROUP, "kind": kind.as_str()}))
            .collect();
        let wrong = self
            .rejected
            .as_ref()
            .or(self.conflict.as_ref())
            .or(self.unresolved.as_ref().filter(|_| self.server.is_none()));
        let invalid = wrong.map(|problem| Problem {
            reason: "Invalid",
            ..problem.clone()
        });
        json!({
            "name": self.spec.name,
            "attachedRoutes": self.attached,
            "supportedKinds": kinds,
            "conditions": [
                condition("Accepted", "Accepted", self.rejected.as_ref()),
                negative("Conflicted", "NoConflicts", self.conflict.as_ref()),
                condition("ResolvedRefs", "ResolvedRefs", self.unresolved.as_ref()),
                condition("Programmed", "Programmed", invalid.as_ref().or(unassigned)),
            ],
        })
    }
}

pub fn convert<'a>(
    context: &Context<'a>,
    source: &Source<'a, Gateway>,
    issues: &mut Issues,
) -> Vec<Listener<'a>> {
    let mut listeners: Vec<Listener<'a>> = Vec::new();
    for (index, spec) in source.spec.listeners.iter().enumerate() {
        let field = format!("spec.listeners[{index}]");
        let mut listener = one(context, source, spec, &field, issues);
        let class = |spec: &Spec| match spec.protocol.as_str() {
            // Told apart by server names.
            "HTTPS" => "TLS".to_owned(),
            other => other.to_owned(),
        };
        let other = listeners.iter().find(|other| {
            other.server.is_some()
                && other.spec.port == spec.port
                && class(other.spec) != class(spec)
        });
        if let Some(other) = other {
            listener.server = None;
            listener.conflict = Some(Problem::new(
                "ProtocolConflict",
                format!("{field}.protocol"),
                format!(
                    "port {} is {} for listener {:?} already; use another port. The listener is not opened",
                    spec.port, other.spec.protocol, other.spec.name
                ),
            ));
        }
        let problems = [&listener.rejected, &listener.conflict, &listener.unresolved];
        for problem in problems.into_iter().flatten() {
            problem.report(&source.key, issues);
        }
        listeners.push(listener);
    }
    listeners
}

fn one<'a>(
    context: &Context<'a>,
    source: &Source<'a, Gateway>,
    spec: &'a Spec,
    field: &str,
    issues: &mut Issues,
) -> Listener<'a> {
    let terminates = spec
        .tls
        .as_ref()
        .is_none_or(|tls| tls.mode == TlsMode::Terminate);
    let supported: &[Kind] = match spec.protocol.as_str() {
        "HTTP" | "HTTPS" => &[Kind::HttpRoute, Kind::GrpcRoute],
        "TLS" if terminates => &[Kind::TlsRoute, Kind::TcpRoute],
        "TLS" => &[Kind::TlsRoute],
        "TCP" => &[Kind::TcpRoute],
        _ => &[],
    };
    let mut listener = Listener {
        spec,
        server: None,
        kinds: supported.to_vec(),
        namespaces: namespaces(context, &source.key.namespace, spec.allowed_routes.as_ref()),
        attached: 0,
        rejected: None,
        conflict: None,
        unresolved: None,
    };
    if supported.is_empty() {
        listener.rejected = Some(Problem::new(
            "UnsupportedProtocol",
            format!("{field}.protocol"),
            format!(
                "{} is not supported; use HTTP, HTTPS, TLS or TCP. The listener is not opened",
                spec.protocol
            ),
        ));
        return listener;
    }
    listener.unresolved = restrict(&mut listener.kinds, spec, field);
    let tls = match tls::settings(context, source, spec, field, issues) {
        Ok(tls) => tls,
        Err(problem) => {
            listener.unresolved = Some(problem);
            return listener;
        }
    };
    let hostname = listener.hostname();
    let mut hosts: Vec<String> = listener
        .namespaces
        .iter()
        .map(|namespace| format!("{namespace}/{hostname}"))
        .collect();
    if hosts.is_empty() {
        // The port and its certificates are there all the same, for nobody's routes.
        hosts.push(format!("~/{hostname}"));
    }
    listener.server = Some(Server {
        port: Some(Port {
            number: spec.port,
            protocol: spec.protocol.clone(),
            name: "default".to_owned(),
            ..Port::default()
        }),
        hosts,
        tls,
        ..Server::default()
    });
    listener
}

/// Leaves the kinds that the listener allows; a problem where it names others.
fn restrict(kinds: &mut Vec<Kind>, spec: &Spec, field: &str) -> Option<Problem> {
    let wanted = &spec.allowed_routes.as_ref()?.kinds;
    if wanted.is_empty() {
        return None;
    }
    let is = |kind: &Kind, wanted: &meltemi_api::gateway_api::RouteGroupKind| {
        wanted.group.as_deref().unwrap_or(GROUP) == GROUP && wanted.kind == kind.as_str()
    };
    let supported = std::mem::take(kinds);
    *kinds = supported
        .iter()
        .copied()
        .filter(|kind| wanted.iter().any(|wanted| is(kind, wanted)))
        .collect();
    let index = wanted
        .iter()
        .position(|wanted| !supported.iter().any(|kind| is(kind, wanted)))?;
    let possible: Vec<&str> = supported.iter().map(|kind| kind.as_str()).collect();
    Some(Problem::new(
        "InvalidRouteKinds",
        format!("{field}.allowedRoutes.kinds[{index}]"),
        format!(
            "{} cannot be attached to a listener for {}; name {}",
            wanted[index].kind,
            spec.protocol,
            possible.join(" or ")
        ),
    ))
}

fn namespaces(context: &Context<'_>, own: &str, allowed: Option<&AllowedRoutes>) -> Vec<String> {
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
    match namespaces
        .map(|namespaces| namespaces.from)
        .unwrap_or_default()
    {
        FromNamespaces::Same => vec![own.to_owned()],
        FromNamespaces::All => vec!["*".to_owned()],
        FromNamespaces::Selector => {
            let selector = namespaces.and_then(|namespaces| namespaces.selector.as_ref());
            let known = context.namespaces.iter();
            known
                .filter(|(name, labels)| {
                    selector.is_some_and(|wanted| selector::selects(wanted, name, **labels))
                })
                .map(|(name, _)| (*name).to_owned())
                .collect()
        }
    }
}
