//! Policies of role-based access control (`envoy.config.rbac.v3.RBAC`), for requests and for
//! connections.

use crate::model::{HeaderMatch, IpPrefix, StringMatch};

pub struct Policies {
    pub action: RbacAction,
    /// In the order of names, as Envoy evaluates them.
    pub policies: Box<[RbacPolicy]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RbacAction {
    /// Only what a policy matches may pass.
    Allow,
    /// What a policy matches may not.
    Deny,
    /// Everything passes.
    Log,
}

pub struct RbacPolicy {
    /// Response code details of what it denies.
    pub denial: Box<str>,
    /// Any of them, and any of the principals.
    pub permissions: Box<[RbacRule]>,
    pub principals: Box<[RbacRule]>,
}

impl Policies {
    /// Whether any rule looks at more than a connection.
    pub fn read_requests(&self) -> bool {
        let mut rules = self
            .policies
            .iter()
            .flat_map(|policy| policy.permissions.iter().chain(&policy.principals));
        rules.any(RbacRule::reads_requests)
    }
}

impl RbacRule {
    fn reads_requests(&self) -> bool {
        match self {
            Self::Header(_) | Self::Path(_) => true,
            Self::All(rules) | Self::Any(rules) => rules.iter().any(Self::reads_requests),
            Self::Not(rule) => rule.reads_requests(),
            _ => false,
        }
    }
}

/// A permission or a principal.
#[derive(Debug)]
pub enum RbacRule {
    Anything,
    All(Box<[RbacRule]>),
    Any(Box<[RbacRule]>),
    Not(Box<RbacRule>),
    Header(HeaderMatch),
    /// The path without its query.
    Path(StringMatch),
    DestinationIp(IpPrefix),
    /// Half-open.
    DestinationPort(std::ops::Range<u32>),
    ServerName(StringMatch),
    /// The peer showed a certificate whose URI SAN (else DNS SAN, else subject) matches;
    /// `None`: any certificate.
    Authenticated(Option<StringMatch>),
    /// The other end of the socket.
    DirectIp(IpPrefix),
    /// The connection's client, as the PROXY protocol may have announced it.
    SourceIp(IpPrefix),
    /// The client after `x-forwarded-for` rules.
    RemoteIp(IpPrefix),
}
