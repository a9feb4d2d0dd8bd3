//! Role-based access control (`envoy.filters.http.rbac`): policies say which requests pass, and
//! shadow policies which would.

mod compile;
mod evaluate;
mod policies;
#[cfg(test)]
mod tests;

pub(crate) use compile::policies;
pub(crate) use evaluate::{Subject, Verdict};
pub use policies::*;

use super::{Call, Filter};
use crate::compile::any::Typed;
use crate::compile::{Cx, Result as Compiled};
use crate::http::reply::Reply;
use crate::telemetry::Flags;
use crate::telemetry::stats::Counter;
use http::StatusCode;

pub struct Rbac {
    rules: RouteRbac,
    stats: RbacStats,
}

/// What is enforced and what is only counted; of the chain, or of a route in its place.
#[derive(Default)]
pub struct RouteRbac {
    pub enforced: Option<Policies>,
    pub shadow: Option<Policies>,
}

impl RouteRbac {
    /// The verdict to be enforced. Both are counted.
    pub(crate) fn judge(&self, subject: &Subject<'_>, stats: &RbacStats) -> Verdict {
        if let Some(shadow) = &self.shadow {
            let verdict = shadow.verdict(subject);
            if let Err(details) = &verdict {
                tracing::debug!(%details, "shadow policies would deny");
            }
            stats.count(&verdict, stats.shadow);
        }
        match &self.enforced {
            Some(policies) => {
                let verdict = policies.verdict(subject);
                stats.count(&verdict, stats.enforced);
                verdict
            }
            None => Ok(()),
        }
    }
}

/// Envoy's counters: allowed and denied.
#[derive(Clone, Copy)]
pub(crate) struct RbacStats {
    enforced: [Counter; 2],
    shadow: [Counter; 2],
}

impl RbacStats {
    /// `counter` makes the counter of a name that begins with `rbac.`.
    pub fn new(prefix: &str, shadow_prefix: &str, counter: impl Fn(&str) -> Counter) -> Self {
        let of = |prefix: &str, names: [&str; 2]| {
            let dot = match prefix.is_empty() || prefix.ends_with('.') {
                true => "",
                false => ".",
            };
            names.map(|name| counter(&format!("rbac.{prefix}{dot}{name}")))
        };
        Self {
            enforced: of(prefix, ["allowed", "denied"]),
            shadow: of(shadow_prefix, ["shadow_allowed", "shadow_denied"]),
        }
    }

    fn count(&self, verdict: &Verdict, [allowed, denied]: [Counter; 2]) {
        match verdict {
            Ok(()) => allowed.inc(),
            Err(_) => denied.inc(),
        }
    }
}

impl Rbac {
    /// The verdict on a request, counted nowhere.
    pub(crate) fn verdict(&self, route: Option<&RouteRbac>, subject: &Subject<'_>) -> Verdict {
        let rules = route.unwrap_or(&self.rules);
        rules
            .enforced
            .as_ref()
            .map_or(Ok(()), |all| all.verdict(subject))
    }
}

impl Filter for Rbac {
    const CONFIG: &'static str = "envoy.extensions.filters.http.rbac.v3.RBAC";
    const ROUTE_CONFIG: &'static str = "envoy.extensions.filters.http.rbac.v3.RBACPerRoute";
    type Route = RouteRbac;
    type State = ();

    fn compile(typed: Typed, stat_prefix: &str, _cx: &mut Cx<'_>) -> Compiled<Self> {
        let compile::Filter { rules, stats } = typed.decode().and_then(compile::filter)?;
        let [prefix, shadow] = stats;
        let counter = |name: &str| Counter::scoped("http", stat_prefix, name);
        Ok(Self {
            rules,
            stats: RbacStats::new(&prefix, &shadow, counter),
        })
    }

    fn compile_route(typed: Typed, _cx: &mut Cx<'_>) -> Compiled<RouteRbac> {
        typed.decode().and_then(compile::route)
    }

    fn acts(&self) -> bool {
        self.rules.enforced.is_some() || self.rules.shadow.is_some()
    }

    async fn request(&self, route: Option<&RouteRbac>, call: &mut Call<'_>) -> Result<(), Reply> {
        let subject = Subject {
            head: Some(call.head),
            connection: &call.exchange.downstream.info,
            client: call.exchange.client.ip(),
        };
        let verdict = route.unwrap_or(&self.rules).judge(&subject, &self.stats);
        verdict.map_err(|details| {
            let status = StatusCode::FORBIDDEN;
            Reply::new(status, "RBAC: access denied", Flags::default(), details)
        })
    }
}
