//! Role-based access control of connections (`envoy.filters.network.rbac`), with the policies of
//! the HTTP filter.
//!
//! Envoy decides at a connection's first byte, when its TCP proxy has connected already; here it
//! is decided before anything is connected, so that a server that speaks first says nothing to
//! those who are denied.

use super::{Admitted, Closed, Filter};
use crate::compile::any::Typed;
use crate::compile::basic::duration_or;
use crate::compile::pb::filters::network::rbac::v3::Rbac as Proto;
use crate::compile::{At, Cx, Error, Result as Compiled, harmless, refuse};
use crate::http::filters::{Policies, RbacStats, RouteRbac, Subject, policies};
use crate::telemetry::ConnectionInfo;
use crate::telemetry::stats::Counter;
use std::time::Duration;

pub struct Rbac {
    rules: RouteRbac,
    stats: RbacStats,
    delay: Duration,
}

impl Filter for Rbac {
    const CONFIG: &'static str = "envoy.extensions.filters.network.rbac.v3.RBAC";

    fn compile(typed: Typed, _cx: &mut Cx<'_>) -> Compiled<Self> {
        let Proto {
            rules,
            matcher,
            shadow_rules,
            shadow_matcher,
            shadow_rules_stat_prefix,
            stat_prefix,
            enforcement_type,
            delay_deny,
        } = typed.decode()?;
        refuse!(matcher, shadow_matcher);
        // What is looked at does not change while a connection lives.
        harmless!(enforcement_type);
        if stat_prefix.is_empty() {
            return Err(Error::missing("stat_prefix"));
        }
        let of_connections = |value| {
            policies(value).and_then(|policies: Policies| match policies.read_requests() {
                false => Ok(policies),
                true => Err(Error::new("connections have no headers and no path")),
            })
        };
        let prefix = stat_prefix.trim_end_matches('.');
        let counter = |name: &str| Counter::new(&format!("{prefix}.{name}"));
        Ok(Self {
            rules: RouteRbac {
                enforced: rules.map(of_connections).transpose().at("rules")?,
                shadow: shadow_rules
                    .map(of_connections)
                    .transpose()
                    .at("shadow_rules")?,
            },
            stats: RbacStats::new("", &shadow_rules_stat_prefix, counter),
            delay: duration_or(delay_deny, Duration::ZERO).at("delay_deny")?,
        })
    }

    fn admit(&self, connection: &ConnectionInfo) -> Result<Admitted, Closed> {
        let subject = Subject {
            head: None,
            connection,
            client: connection.facts.source.ip(),
        };
        let verdict = self.rules.judge(&subject, &self.stats);
        verdict.map(|()| None).map_err(|details| Closed {
            details,
            delay: self.delay,
            counted: None,
        })
    }
}
