//! Where rules lead.

use meltemi_api::ObjectKey;
use meltemi_api::gateway_api::Backend;
use meltemi_api::networking::{Destination, PortSelector};

use super::super::issue::Problem;
use super::Context;

/// A place in a route, and what is wrong in it.
pub struct Rules<'c, 'a> {
    pub context: &'c Context<'a>,
    pub route: &'c ObjectKey,
    /// Whether backends of other namespaces need a ReferenceGrant: for clients from outside they
    /// do; within the mesh the client's own network policy decides, as in Istio.
    pub guarded: bool,
    /// References that lead nowhere.
    pub unresolved: Vec<Problem>,
    /// Values that are not supported.
    pub unsupported: Vec<Problem>,
}

impl<'c, 'a> Rules<'c, 'a> {
    pub fn new(context: &'c Context<'a>, route: &'c ObjectKey, guarded: bool) -> Self {
        Self {
            context,
            route,
            guarded,
            unresolved: Vec::new(),
            unsupported: Vec::new(),
        }
    }

    /// The backends of a rule with their weights, those without weight left out.
    pub fn destinations<'b, T>(
        &mut self,
        backends: &'b [T],
        field: &str,
    ) -> Vec<(Destination, i32, usize)>
    where
        Backend<'b>: From<&'b T>,
    {
        let mut found = Vec::new();
        for (index, backend) in backends.iter().enumerate() {
            let backend = Backend::from(backend);
            let field = format!("{field}.backendRefs[{index}]");
            let destination = self.destination(backend, &field);
            if backend.weight > 0 {
                let weight = i32::try_from(backend.weight).unwrap_or(i32::MAX);
                found.push((destination, weight, index));
            }
        }
        found
    }

    /// A backend's host and port; the host is empty, and so leads nowhere, where the backend must
    /// not be reached.
    pub fn destination(&mut self, backend: Backend<'_>, field: &str) -> Destination {
        let own = self.route.namespace.as_str();
        let namespace = match backend.namespace {
            "" => own,
            other => other,
        };
        let port = backend.port.map(|number| PortSelector { number });
        let mut wrong = |reason, name: &str, message: String| {
            let problem = Problem::new(reason, format!("{field}.{name}"), message);
            self.unresolved.push(problem);
        };
        let nowhere = Destination {
            port: port.clone(),
            ..Destination::default()
        };
        let from = (self.route.kind.as_str(), own);
        let to = (backend.group, backend.kind, namespace, backend.name);
        if self.guarded && !self.context.grants.allow(from, to) {
            wrong(
                "RefNotPermitted",
                "namespace",
                format!(
                    "no ReferenceGrant in namespace {namespace} lets {}s of namespace {own} use {} {}; create one there. Requests get an error",
                    self.route.kind, backend.kind, backend.name
                ),
            );
            return nowhere;
        }
        let place = self.context.place;
        let (host, known) = match (backend.group, backend.kind) {
            // Of several clusters the services are one here.
            ("", "Service") | ("multicluster.x-k8s.io", "ServiceImport") => (
                place.host(backend.name, namespace),
                place.service(namespace, backend.name).is_some(),
            ),
            ("networking.istio.io", "Hostname") => (
                backend.name.to_owned(),
                place.by_hostname(backend.name, own).is_some(),
            ),
            (group, kind) => {
                wrong(
                    "InvalidKind",
                    "kind",
                    format!(
                        "{kind} of {group:?} is not supported as a backend; name a Service. Requests get an error"
                    ),
                );
                return nowhere;
            }
        };
        if port.is_none() {
            wrong(
                "BackendNotFound",
                "port",
                "is missing; name a port. Requests get an error".to_owned(),
            );
            return nowhere;
        }
        if !known {
            wrong(
                "BackendNotFound",
                "name",
                format!(
                    "there is no service {host}; create it or correct the name. Requests get an error"
                ),
            );
        }
        Destination {
            host,
            port,
            ..Destination::default()
        }
    }

    /// A rule's filter that is not supported: its requests must not pass without it.
    pub fn not_supported(&mut self, field: &str, kind: &str) {
        self.unsupported.push(Problem::new(
            "UnsupportedValue",
            field,
            format!(
                "{kind} is not supported here; remove the filter. Requests of the rule get 500"
            ),
        ));
    }
}
