//! HTTP rules.

use super::super::report::Report;
use super::answer::{cors, direct_response, redirect, rewrite};
use super::fault::fault;
use super::headers::{authority_once, headers};
use super::{destination, http_match, retries, weights};
use crate::FieldPath;
use crate::networking::HttpRoute;

/// What a rule's validity depends on besides itself.
pub(super) struct Context<'a> {
    /// The VirtualService is a delegate.
    pub delegate: bool,
    /// Its gateways.
    pub gateways: &'a [String],
}

pub(super) fn route(route: &HttpRoute, context: &Context<'_>, at: &FieldPath, report: &mut Report) {
    actions(route, context, at, report);
    for (index, condition) in route.matches.iter().enumerate() {
        let at = at.field("match").index(index);
        http_match::condition(condition, context.gateways, &at, report);
    }
    for (index, entry) in route.route.iter().enumerate() {
        let at = at.field("route").index(index);
        destination(&entry.destination, &at.field("destination"), report);
        headers(entry.headers.as_ref(), &at.field("headers"), report);
    }
    let all: Vec<i32> = route.route.iter().map(|entry| entry.weight).collect();
    weights(&all, &at.field("route"), report);
    headers(route.headers.as_ref(), &at.field("headers"), report);
    report.duration_or_zero(&at.field("timeout"), route.timeout);
    if let Some(policy) = &route.retries {
        retries(policy, &at.field("retries"), report);
    }
    if let Some(policy) = &route.fault {
        fault(policy, &at.field("fault"), report);
    }
    if let Some(policy) = &route.cors_policy {
        cors(policy, &at.field("corsPolicy"), report);
    }
    if let Some(change) = &route.rewrite {
        rewrite(change, &at.field("rewrite"), report);
        authority_once(route, change, at, report);
    }
    if let Some(to) = &route.redirect {
        redirect(to, route, &at.field("redirect"), report);
    }
    if let Some(response) = &route.direct_response {
        direct_response(response, &at.field("directResponse"), report);
    }
    mirrors(route, at, report);
}

/// Exactly one of route, redirect, directResponse, delegate; and what goes with which.
fn actions(route: &HttpRoute, context: &Context<'_>, at: &FieldPath, report: &mut Report) {
    let has_route = !route.route.is_empty();
    let exclusive = |report: &mut Report, a: &str, b: &str| {
        report.error(at, format!("has both {a} and {b}"), "keep one of them");
    };
    if let Some(delegate) = &route.delegate {
        if context.delegate {
            report.error(
                &at.field("delegate"),
                "a delegate cannot delegate",
                "remove it",
            );
        }
        if delegate.name.is_empty() {
            report.error(&at.field("delegate"), "names no VirtualService", "set name");
        }
        for (name, present) in [
            ("route", has_route),
            ("redirect", route.redirect.is_some()),
            ("directResponse", route.direct_response.is_some()),
        ] {
            if present {
                exclusive(report, "delegate", name);
            }
        }
        if context.delegate {
            report.error(
                at,
                "says not what to do",
                "add route, redirect or directResponse",
            );
        }
        return;
    }
    for (other, present) in [
        ("route", has_route),
        ("fault", route.fault.is_some()),
        ("rewrite", route.rewrite.is_some()),
    ] {
        if present && route.redirect.is_some() {
            exclusive(report, "redirect", other);
        }
        if present && other != "fault" && route.direct_response.is_some() {
            exclusive(report, "directResponse", other);
        }
    }
    if route.redirect.is_some() && route.direct_response.is_some() {
        exclusive(report, "redirect", "directResponse");
    }
    if !has_route && route.redirect.is_none() && route.direct_response.is_none() {
        report.error(
            at,
            "says not what to do",
            "add route, redirect, directResponse or delegate",
        );
    }
}

fn mirrors(route: &HttpRoute, at: &FieldPath, report: &mut Report) {
    if let Some(to) = &route.mirror {
        destination(to, &at.field("mirror"), report);
        if !route.mirrors.is_empty() {
            report.error(at, "has both mirror and mirrors", "keep mirrors");
        }
    }
    if let Some(percent) = route.mirror_percent {
        let at = at.field("mirrorPercent");
        report.warning(&at, "is deprecated", "use mirrorPercentage.value");
        report.percent(&at, f64::from(percent));
    }
    if let Some(percentage) = &route.mirror_percentage {
        report.percent(
            &at.field("mirrorPercentage").field("value"),
            percentage.value,
        );
    }
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let at = at.field("mirrors").index(index);
        destination(&mirror.destination, &at.field("destination"), report);
        if let Some(percentage) = &mirror.percentage {
            report.percent(&at.field("percentage").field("value"), percentage.value);
        }
    }
}
