//! Comparing what came out with what a test expects.

use std::fmt::{Debug, Display};
use std::time::Duration;

use super::format::{Expect, FaultSpec, Headers, RedirectTo, To};
use crate::effects::{Action, Change, Destination, HeaderChange};
use crate::journey::{Journey, Role};
use crate::verdict::Verdict;

/// What is not as expected.
pub(super) fn failures(expect: &Expect, journey: &Journey) -> Vec<String> {
    let mut failures = Failures(Vec::new());
    let empty = Verdict::default();
    let verdict = journey.hops.first().map_or(&empty, |hop| &hop.verdict);
    let refusal = journey.refusal();
    match (&expect.refused, refusal) {
        (Some(wanted), Some((_, refusal))) if wanted == refusal.code() => {}
        (Some(wanted), Some((_, refusal))) => failures.add("refused", wanted, refusal.code()),
        (Some(wanted), None) => failures.add("refused", wanted, "not refused"),
        (None, Some((hop, refusal))) => failures.0.push(format!(
            "refused: {} at {} ({refusal})",
            refusal.code(),
            hop.proxy
        )),
        (None, None) => {}
    }
    for (what, wanted, found) in [
        ("listener", &expect.listener, verdict.listener.as_deref()),
        (
            "filterChain",
            &expect.filter_chain,
            verdict.filter_chain.as_deref(),
        ),
        (
            "routeConfig",
            &expect.route_config,
            verdict.route_config.as_deref(),
        ),
        (
            "virtualHost",
            &expect.virtual_host,
            verdict.virtual_host.as_deref(),
        ),
        ("route", &expect.route, verdict.route.as_deref()),
        ("cluster", &expect.cluster, verdict.cluster()),
        (
            "hostRewrite",
            &expect.host_rewrite,
            verdict.effects.host_rewrite.as_deref(),
        ),
        (
            "pathRewrite",
            &expect.path_rewrite,
            verdict.effects.path_rewrite.as_deref(),
        ),
    ] {
        if let Some(wanted) = wanted
            && found != Some(wanted)
        {
            failures.add(what, wanted, found.unwrap_or("nothing"));
        }
    }
    let destinations = verdict.destinations();
    if let Some(wanted) = &expect.destination {
        failures.destinations(std::slice::from_ref(wanted), destinations);
    }
    if let Some(wanted) = &expect.destinations {
        failures.destinations(wanted, destinations);
    }
    if let Some(wanted) = &expect.rule {
        let found = verdict.rule.as_ref().map(ToString::to_string);
        let found = found.as_deref().unwrap_or("none");
        // Without a field the object is enough.
        if found != wanted && !found.starts_with(&format!("{wanted} ")) {
            failures.add("rule", wanted, found);
        }
    }
    answers(expect, verdict, &mut failures);
    effects(expect, verdict, &mut failures);
    if let Some(wanted) = expect.server_tls {
        let server = journey.hops.iter().find(|hop| hop.role == Role::Server);
        match server {
            Some(hop) if hop.tls == wanted => {}
            Some(hop) => failures.differ("serverTls", &wanted, &hop.tls),
            None => failures
                .0
                .push("serverTls: no server with a sidecar is reached".to_owned()),
        }
    }
    failures.0
}

fn answers(expect: &Expect, verdict: &Verdict, failures: &mut Failures) {
    if let Some(wanted) = expect.status {
        match &verdict.action {
            Some(Action::Respond { status }) if *status == wanted => {}
            Some(Action::Redirect(redirect)) if redirect.status == wanted => {}
            Some(Action::Respond { status }) => failures.add("status", wanted, status),
            Some(Action::Redirect(redirect)) => failures.add("status", wanted, redirect.status),
            _ => failures.add("status", wanted, "the proxy does not answer itself"),
        }
    }
    if let Some(wanted) = &expect.redirect {
        let Some(Action::Redirect(found)) = &verdict.action else {
            failures
                .0
                .push("redirect: the request is not redirected".to_owned());
            return;
        };
        let RedirectTo {
            status,
            scheme,
            host,
            port,
            path,
        } = wanted;
        failures.option("redirect.status", status, &Some(found.status));
        failures.option("redirect.scheme", scheme, &found.scheme);
        failures.option("redirect.host", host, &found.host);
        failures.option("redirect.port", port, &found.port);
        failures.option("redirect.path", path, &found.path);
    }
}

fn effects(expect: &Expect, verdict: &Verdict, failures: &mut Failures) {
    let effects = &verdict.effects;
    if let Some(wanted) = &expect.timeout {
        let found = effects.timeout;
        match (wanted.as_str(), found) {
            ("none", None) => {}
            (text, Some(found)) if duration(text) == Some(found) => {}
            (text, Some(found)) => failures.add("timeout", text, format!("{found:?}")),
            (text, None) => failures.add("timeout", text, "none"),
        }
    }
    if let Some(wanted) = expect.retries {
        let found = effects
            .retries
            .as_ref()
            .map_or(0, |retries| retries.attempts);
        if found != wanted {
            failures.add("retries", wanted, found);
        }
    }
    for (what, wanted, found) in [
        (
            "requestHeaders",
            &expect.request_headers,
            &effects.request_headers,
        ),
        (
            "responseHeaders",
            &expect.response_headers,
            &effects.response_headers,
        ),
    ] {
        if let Some(wanted) = wanted {
            failures.headers(what, wanted, found);
        }
    }
    if let Some(wanted) = &expect.mirrors {
        let found: Vec<&str> = effects
            .mirrors
            .iter()
            .map(|mirror| &*mirror.cluster)
            .collect();
        let equal = wanted.len() == found.len()
            && wanted.iter().zip(&found).all(|(wanted, cluster)| {
                wanted == cluster || Cluster::of(cluster).is_some_and(|c| c.is_host(wanted))
            });
        if !equal {
            failures.differ("mirrors", wanted, &found);
        }
    }
    if let Some(FaultSpec { delay, abort }) = &expect.fault {
        let found = effects.fault.clone().unwrap_or_default();
        if let Some(wanted) = delay
            && duration(wanted) != found.delay
        {
            failures.add("fault.delay", wanted, format!("{:?}", found.delay));
        }
        failures.option("fault.abort", abort, &found.abort);
    }
}

struct Failures(Vec<String>);

impl Failures {
    fn add(&mut self, what: &str, wanted: impl Display, found: impl Display) {
        self.0
            .push(format!("{what}: expected {wanted}, found {found}"));
    }

    fn differ(&mut self, what: &str, wanted: &impl Debug, found: &impl Debug) {
        self.0
            .push(format!("{what}: expected {wanted:?}, found {found:?}"));
    }

    fn option<T: PartialEq + Debug>(&mut self, what: &str, wanted: &Option<T>, found: &Option<T>) {
        if wanted.is_some() && wanted != found {
            self.differ(what, wanted, found);
        }
    }

    fn destinations(&mut self, wanted: &[To], found: &[Destination]) {
        let mut left: Vec<&Destination> = found.iter().collect();
        for to in wanted {
            match left.iter().position(|destination| is(to, destination)) {
                Some(position) => drop(left.remove(position)),
                None => {
                    let found: Vec<String> = found.iter().map(shown).collect();
                    let found = match found.is_empty() {
                        true => "no destination".to_owned(),
                        false => found.join(", "),
                    };
                    self.add("destination", wished(to), found);
                }
            }
        }
        // A wrong one is told once, by what was expected instead.
        if found.len() > wanted.len() {
            for extra in left.into_iter().take(found.len() - wanted.len()) {
                self.0
                    .push(format!("destination: not expected: {}", shown(extra)));
            }
        }
    }

    fn headers(&mut self, what: &str, wanted: &Headers, found: &[HeaderChange]) {
        let has = |change: Change, name: &str, value: &str| {
            found.iter().any(|header| {
                header.change == change
                    && header.name.eq_ignore_ascii_case(name)
                    && header.value == value
            })
        };
        let sets = wanted
            .set
            .iter()
            .map(|(name, value)| (Change::Set, name, value.as_str()));
        let adds = wanted
            .add
            .iter()
            .map(|(name, value)| (Change::Add, name, value.as_str()));
        let removes = wanted.remove.iter().map(|name| (Change::Remove, name, ""));
        for (change, name, value) in sets.chain(adds).chain(removes) {
            if !has(change, name, value) {
                self.0.push(
                    format!("{what}: there is no {change:?} {name} {value}")
                        .trim_end()
                        .to_owned(),
                );
            }
        }
    }
}

/// `outbound|PORT|SUBSET|HOST`.
struct Cluster<'a> {
    port: &'a str,
    subset: &'a str,
    host: &'a str,
}

impl<'a> Cluster<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let parts: Vec<&str> = name.split('|').collect();
        let ["outbound", port, subset, host] = parts[..] else {
            return None;
        };
        Some(Self { port, subset, host })
    }

    /// In full, or the beginning of it up to a dot.
    fn is_host(&self, wanted: &str) -> bool {
        self.host
            .strip_prefix(wanted)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

fn is(wanted: &To, found: &Destination) -> bool {
    let To {
        host,
        subset,
        port,
        weight,
    } = wanted;
    let named = match Cluster::of(&found.cluster) {
        None => found.cluster == *host,
        Some(cluster) => {
            cluster.is_host(host)
                && subset
                    .as_ref()
                    .is_none_or(|subset| subset == cluster.subset)
                && port.is_none_or(|port| port.to_string() == cluster.port)
        }
    };
    named && weight.is_none_or(|weight| weight == found.weight)
}

fn wished(to: &To) -> String {
    let mut text = to.host.clone();
    if let Some(subset) = &to.subset {
        text.push_str(&format!(" subset {subset}"));
    }
    if let Some(port) = to.port {
        text.push_str(&format!(" port {port}"));
    }
    if let Some(weight) = to.weight {
        text.push_str(&format!(" weight {weight}"));
    }
    text
}

fn shown(found: &Destination) -> String {
    match Cluster::of(&found.cluster) {
        Some(Cluster { port, subset, host }) => wished(&To {
            host: host.to_owned(),
            subset: (!subset.is_empty()).then(|| subset.to_owned()),
            port: port.parse().ok(),
            weight: Some(found.weight),
        }),
        None => found.cluster.clone(),
    }
}

/// `500ms`, `5s`, `1m`, `1h`, `1.5s`.
fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}
