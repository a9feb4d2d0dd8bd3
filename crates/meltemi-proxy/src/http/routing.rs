//! Choosing virtual host and route.

use super::downstream::Downstream;
use super::head::{Head, split_port};
use super::{grpc, matching};
use crate::model::{Route, RouteMatch, RouteSource, RouteTable, Snapshot, VirtualHost};
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
}

/// The route table in force for this manager.
pub(crate) fn table<'a>(
    downstream: &'a Downstream,
    snapshot: &'a Snapshot,
) -> Option<&'a Arc<RouteTable>> {
    match &downstream.manager.routes {
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
    if let Some(found) = table.exact.get(&*host) {
        return Some(*found);
    }
    // A wildcard stands for at least one character.
    let longer = |part: &str| host.len() > part.len();
    table
        .suffix
        .iter()
        .find(|(suffix, _)| longer(suffix) && host.ends_with(&**suffix))
        .or_else(|| {
            table
                .prefix
                .iter()
                .find(|(prefix, _)| longer(prefix) && host.starts_with(&**prefix))
        })
        .map(|(_, found)| *found)
        .or(table.any)
}

pub(crate) enum Choice {
    Route(Matched),
    /// The virtual host accepts TLS only.
    RequireTls,
    None,
}

pub(crate) fn choose(downstream: &Downstream, table: &Arc<RouteTable>, head: &Head) -> Choice {
    let Some(index) = virtual_host(table, head.authority_str()) else {
        return Choice::None;
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
        .iter()
        .find(|route| matches(downstream, &route.matches, head))
        .map_or(Choice::None, |route| {
            Choice::Route(Matched {
                table: table.clone(),
                host: index,
                route: route.clone(),
            })
        })
}

fn matches(downstream: &Downstream, wanted: &RouteMatch, head: &Head) -> bool {
    let tls = downstream.info.tls.as_ref();
    // rustls lets no certificate pass that does not verify: presented is validated.
    let presented = tls.is_some_and(|tls| tls.mutual());
    matching::path(&wanted.path, wanted.case_sensitive, head)
        && wanted
            .headers
            .iter()
            .all(|matcher| matching::header(matcher, head))
        && (wanted.query.is_empty() || {
            let query = head.path.query().unwrap_or("");
            wanted
                .query
                .iter()
                .all(|matcher| matching::query(matcher, query))
        })
        && (!wanted.grpc_only || grpc::is_grpc(&head.headers))
        && wanted
            .client_cert_presented
            .is_none_or(|wanted| wanted == presented)
        && wanted
            .client_cert_validated
            .is_none_or(|wanted| wanted == presented)
        && wanted.fraction.is_none_or(matching::chance)
}
