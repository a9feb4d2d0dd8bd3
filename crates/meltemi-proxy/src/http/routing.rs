//! Choosing virtual host and route.

use super::downstream::Arrival;
use super::head::{Head, split_port};
use super::{grpc, matching};
use crate::model::{
    HeaderMatch, HttpManager, PathMatch, QueryMatch, Route, RouteMatch, RouteSource, RouteTable,
    Snapshot, VirtualHost,
};
use std::borrow::Cow;
use std::sync::Arc;

/// What a request was matched to.
pub(crate) struct Matched {
    pub table: Arc<RouteTable>,
    host: u32,
    pub route: Arc<Route>,
}

impl Matched {
    pub fn host(&self) -> &VirtualHost {
        &self.table.hosts[self.host as usize]
    }

    pub fn shared_host(&self) -> Arc<VirtualHost> {
        self.table.hosts[self.host as usize].clone()
    }
}

/// The route table in force for this manager.
pub(crate) fn table<'a>(
    manager: &'a HttpManager,
    snapshot: &'a Snapshot,
) -> Option<&'a Arc<RouteTable>> {
    match &manager.routes {
        RouteSource::Inline(table) => Some(table),
        RouteSource::Rds(id, _) => snapshot.route_table(*id),
    }
}

/// The virtual host of an authority: exact, then the longest suffix, the longest prefix,
/// and `*`.
pub(crate) fn virtual_host(table: &RouteTable, authority: &str) -> Option<u32> {
    let authority = match table.ignore_port {
        true => split_port(authority).0,
        false => authority,
    };
    let host: Cow<'_, str> = if authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
        authority.to_ascii_lowercase().into()
    } else {
        authority.into()
    };
    let domains = &table.domains;
    if let Some(found) = domains.exact.get(&*host) {
        return Some(*found);
    }
    // A wildcard stands for at least one character.
    let longer = |part: &str| host.len() > part.len();
    domains
        .suffix
        .iter()
        .find(|(suffix, _)| longer(suffix) && host.ends_with(&**suffix))
        .or_else(|| {
            domains
                .prefix
                .iter()
                .find(|(prefix, _)| longer(prefix) && host.starts_with(&**prefix))
        })
        .map(|(_, found)| *found)
        .or(domains.any)
}

pub(crate) enum Choice {
    Route(Matched),
    /// The virtual host accepts TLS only.
    RequireTls,
    /// No route, and the virtual host that has none for it, if any.
    None(Option<Arc<VirtualHost>>),
}

pub(crate) fn choose(arrival: Arrival<'_>, table: &Arc<RouteTable>, head: &Head) -> Choice {
    let Some(index) = virtual_host(table, head.authority_str()) else {
        return Choice::None(None);
    };
    let host = &table.hosts[index as usize];
    let secure = head.scheme == "https";
    match host.require_tls {
        crate::model::RequireTls::All if !secure => return Choice::RequireTls,
        crate::model::RequireTls::ExternalOnly if !secure && !head.internal => {
            return Choice::RequireTls;
        }
        _ => {}
    }
    host.routes
        .candidates(head.path.path())
        .find(|route| mismatch(arrival, &route.matches, head).is_none())
        .map_or_else(
            || Choice::None(Some(host.clone())),
            |route| {
                Choice::Route(Matched {
                    table: table.clone(),
                    host: index,
                    route: route.clone(),
                })
            },
        )
}

/// The first condition of a route that a request does not meet.
#[derive(Clone, Copy, Debug)]
pub enum Mismatch<'a> {
    Path(&'a PathMatch),
    Header(&'a HeaderMatch),
    Query(&'a QueryMatch),
    /// Only gRPC requests.
    Grpc,
    /// Only with, or only without, a client certificate.
    ClientCertificate,
    /// Only a share of the requests, and this was not among them.
    Fraction,
}

/// Why a route does not take a request; `None` when it does.
pub(crate) fn mismatch<'a>(
    arrival: Arrival<'_>,
    wanted: &'a RouteMatch,
    head: &Head,
) -> Option<Mismatch<'a>> {
    if !matching::path(&wanted.path, wanted.case_sensitive, head) {
        return Some(Mismatch::Path(&wanted.path));
    }
    let mut headers = wanted.headers.iter();
    if let Some(matcher) = headers.find(|matcher| !matching::header(matcher, head)) {
        return Some(Mismatch::Header(matcher));
    }
    if !wanted.query.is_empty() {
        let query = head.path.query().unwrap_or("");
        let mut matchers = wanted.query.iter();
        if let Some(matcher) = matchers.find(|matcher| !matching::query(matcher, query)) {
            return Some(Mismatch::Query(matcher));
        }
    }
    if wanted.grpc_only && !grpc::is_grpc(&head.headers) {
        return Some(Mismatch::Grpc);
    }
    let tls = arrival.info.tls.as_ref();
    // rustls lets no certificate pass that does not verify: presented is validated.
    let presented = tls.is_some_and(|tls| tls.mutual());
    for wanted in [wanted.client_cert_presented, wanted.client_cert_validated] {
        if wanted.is_some_and(|wanted| wanted != presented) {
            return Some(Mismatch::ClientCertificate);
        }
    }
    let fraction = wanted.fraction;
    (!fraction.is_none_or(matching::chance)).then_some(Mismatch::Fraction)
}
