//! Access control: whether the policies let a request pass. What cannot be evaluated, such
//! as a header that is not text, denies.

use super::head::Head;
use super::matching::{self, Unreadable};
use super::reply::Reply;
use crate::model::{Rbac, RbacAction, RbacPolicy, RbacRule};
use crate::telemetry::{ConnectionInfo, Flags};
use http::StatusCode;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// What rules look at.
struct Request<'a> {
    head: &'a Head,
    connection: &'a ConnectionInfo,
    client: IpAddr,
}

/// `Err`: the request may not pass.
pub(crate) fn check(
    rbac: &Rbac,
    head: &Head,
    connection: &ConnectionInfo,
    client: SocketAddr,
) -> Result<(), Reply> {
    let request = Request {
        head,
        connection,
        client: client.ip(),
    };
    let details = match (rbac.action, request.matched(rbac)) {
        (RbacAction::Log, _) | (RbacAction::Allow, Ok(Some(_))) | (RbacAction::Deny, Ok(None)) => {
            return Ok(());
        }
        (RbacAction::Deny, Ok(Some(policy))) => policy.denial.to_string().into(),
        (RbacAction::Allow, Ok(None)) => Cow::Borrowed("rbac_access_denied_matched_policy[none]"),
        (_, Err(Unreadable)) => Cow::Borrowed("rbac_access_denied_unreadable_header"),
    };
    Err(Reply::new(
        StatusCode::FORBIDDEN,
        "RBAC: access denied",
        Flags::default(),
        details,
    ))
}

impl Request<'_> {
    /// The first policy that matches.
    fn matched<'a>(&self, rbac: &'a Rbac) -> Result<Option<&'a RbacPolicy>, Unreadable> {
        for policy in &rbac.policies {
            if self.any(&policy.permissions)? && self.any(&policy.principals)? {
                return Ok(Some(policy));
            }
        }
        Ok(None)
    }

    fn any(&self, rules: &[RbacRule]) -> Result<bool, Unreadable> {
        for rule in rules {
            if self.matches(rule)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn matches(&self, rule: &RbacRule) -> Result<bool, Unreadable> {
        let connection = self.connection;
        Ok(match rule {
            RbacRule::Anything => true,
            RbacRule::All(rules) => {
                for rule in rules {
                    if !self.matches(rule)? {
                        return Ok(false);
                    }
                }
                true
            }
            RbacRule::Any(rules) => self.any(rules)?,
            RbacRule::Not(rule) => !self.matches(rule)?,
            RbacRule::Header(matcher) => matching::strict_header(matcher, self.head)?,
            RbacRule::Path(pattern) => matching::string(pattern, self.head.path.path()),
            RbacRule::DestinationIp(prefix) => prefix.contains(connection.facts.destination.ip()),
            RbacRule::DestinationPort(ports) => {
                ports.contains(&connection.facts.destination.port().into())
            }
            RbacRule::ServerName(pattern) => {
                let name = connection.facts.server_name.as_deref().unwrap_or("");
                matching::string(pattern, name)
            }
            RbacRule::Authenticated(pattern) => {
                let Some(tls) = connection.tls.as_ref().filter(|tls| tls.mutual()) else {
                    return Ok(false);
                };
                // As Envoy: the URI SAN, else the DNS SAN, else the subject.
                let name = tls
                    .peer_uri
                    .as_ref()
                    .or(tls.peer_dns.first())
                    .or(tls.peer_subject.as_ref());
                match (pattern, name) {
                    (None, _) => true,
                    (Some(pattern), Some(name)) => matching::string(pattern, name),
                    (Some(_), None) => false,
                }
            }
            RbacRule::DirectIp(prefix) => prefix.contains(connection.facts.source.ip()),
            RbacRule::RemoteIp(prefix) => prefix.contains(self.client),
        })
    }
}
