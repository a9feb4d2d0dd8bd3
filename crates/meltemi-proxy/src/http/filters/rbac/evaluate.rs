//! Whether policies let a request or a connection pass. What cannot be evaluated, such as a
//! header that is not text, denies.

use super::{Policies, RbacAction, RbacPolicy, RbacRule};
use crate::http::head::Head;
use crate::http::matching::{self, Unreadable};
use crate::telemetry::ConnectionInfo;
use std::borrow::Cow;
use std::net::IpAddr;

/// Who asks for what.
pub(crate) struct Subject<'a> {
    /// `None`: a connection without HTTP, where no rule may look at headers or paths.
    pub head: Option<&'a Head>,
    pub connection: &'a ConnectionInfo,
    /// The client after `x-forwarded-for` rules.
    pub client: IpAddr,
}

/// Envoy's details of a denial.
pub(crate) type Verdict = Result<(), Cow<'static, str>>;

impl Policies {
    pub(crate) fn verdict(&self, subject: &Subject<'_>) -> Verdict {
        Err(match (self.action, subject.matched(self)) {
            (RbacAction::Log, _)
            | (RbacAction::Allow, Ok(Some(_)))
            | (RbacAction::Deny, Ok(None)) => return Ok(()),
            (RbacAction::Deny, Ok(Some(policy))) => policy.denial.to_string().into(),
            (RbacAction::Allow, Ok(None)) => "rbac_access_denied_matched_policy[none]".into(),
            (_, Err(Unreadable)) => "rbac_access_denied_unreadable_header".into(),
        })
    }
}

impl Subject<'_> {
    /// The first policy that matches.
    fn matched<'a>(&self, rbac: &'a Policies) -> Result<Option<&'a RbacPolicy>, Unreadable> {
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

    fn head(&self) -> Result<&Head, Unreadable> {
        self.head.ok_or(Unreadable)
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
            RbacRule::Header(matcher) => matching::strict_header(matcher, self.head()?)?,
            RbacRule::Path(pattern) => pattern.matches(self.head()?.path.path()),
            RbacRule::DestinationIp(prefix) => prefix.contains(connection.facts.destination.ip()),
            RbacRule::DestinationPort(ports) => {
                ports.contains(&connection.facts.destination.port().into())
            }
            RbacRule::ServerName(pattern) => {
                let name = connection.facts.server_name.as_deref().unwrap_or("");
                pattern.matches(name)
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
                    (Some(pattern), Some(name)) => pattern.matches(name),
                    (Some(_), None) => false,
                }
            }
            RbacRule::DirectIp(prefix) => prefix.contains(connection.facts.peer.ip()),
            RbacRule::SourceIp(prefix) => prefix.contains(connection.facts.source.ip()),
            RbacRule::RemoteIp(prefix) => prefix.contains(self.client),
        })
    }
}
