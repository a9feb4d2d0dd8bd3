//! A request's way up to its route, without a connection: see [`crate::offline`].

use super::downstream::Arrival;
use super::filters::Subject;
use super::routing::{self, Choice};
use super::{address, head, path};
use crate::model::{HttpManager, RouteSource, Snapshot};
use crate::offline::Request;
use crate::telemetry::{ConnectionInfo, Protocol};
use http::StatusCode;
use std::borrow::Cow;
use std::sync::Arc;

/// How far a request comes.
pub(crate) enum Routed<'a> {
    Refused(StatusCode, Cow<'static, str>),
    NoTable(&'a str),
    Request(Request<'a>),
}

/// Does what an exchange does before it forwards.
pub(crate) fn route<'a>(
    manager: &'a HttpManager,
    info: &ConnectionInfo,
    snapshot: &'a Snapshot,
    protocol: Protocol,
    parts: http::request::Parts,
) -> Routed<'a> {
    let arrival = Arrival { manager, info };
    let (mut head, refused) = head::receive(arrival, protocol, parts, false);
    if let Some(reply) = refused {
        return Routed::Refused(reply.status, reply.details);
    }
    if let Err(reply) = path::normalize(manager.path, &mut head.path) {
        return Routed::Refused(reply.status, reply.details);
    }
    let client = address::apply(arrival, &mut head);
    let Some(table) = routing::table(manager, snapshot) else {
        return Routed::NoTable(match &manager.routes {
            RouteSource::Rds(_, name) => name,
            RouteSource::Inline(table) => &table.name,
        });
    };
    let host = routing::virtual_host(table, head.authority_str()).map(|host| host as usize);
    let mut request = Request {
        table,
        host,
        requires_tls: false,
        route: None,
        passed_over: Vec::new(),
        denied: None,
    };
    let choice = routing::choose(arrival, table, &head);
    if let Choice::RequireTls = choice {
        request.requires_tls = true;
        return Routed::Request(request);
    }
    let chosen = match choice {
        Choice::Route(matched) => Some(matched.route),
        Choice::RequireTls | Choice::None(_) => None,
    };
    // Access control comes before the 404 of what has no route.
    let plan = match &chosen {
        Some(route) => manager.filters.plan_for(&route.filters),
        None => manager.filters.plan(),
    };
    let subject = Subject {
        head: Some(&head),
        connection: info,
        client: client.ip(),
    };
    request.denied = manager.filters.denial(&plan, &subject);
    let Some(host) = host.map(|host| &table.hosts[host]) else {
        return Routed::Request(request);
    };
    for (position, route) in host.routes.iter().enumerate() {
        if chosen.as_ref().is_some_and(|c| Arc::ptr_eq(c, route)) {
            request.route = Some((position, route));
            break;
        }
        if let Some(reason) = routing::mismatch(arrival, &route.matches, &head) {
            request.passed_over.push((position, reason));
        }
    }
    Routed::Request(request)
}
