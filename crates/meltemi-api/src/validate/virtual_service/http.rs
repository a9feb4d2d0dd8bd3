//! HTTP rules.

use std::collections::BTreeMap;

use super::super::names::header;
use super::super::report::Report;
use super::{destination, http_match, retries, weights};
use crate::FieldPath;
use crate::networking::{
    CorsPolicy, HeaderOperations, Headers, HttpDirectResponse, HttpFaultInjection, HttpRedirect,
    HttpRewrite, HttpRoute, Percent, StringMatch,
};

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

fn headers(headers: Option<&Headers>, at: &FieldPath, report: &mut Report) {
    let Some(headers) = headers else { return };
    for (name, operations) in [
        ("request", &headers.request),
        ("response", &headers.response),
    ] {
        if let Some(operations) = operations {
            header_operations(operations, &at.field(name), report);
        }
    }
}

fn header_operations(operations: &HeaderOperations, at: &FieldPath, report: &mut Report) {
    let mut values = |name: &str, map: &BTreeMap<String, String>| {
        for (key, value) in map {
            let at = at.field(name).field(key);
            report.check(&at, header(key));
            report.check(&at, header_value(value));
        }
    };
    values("set", &operations.set);
    values("add", &operations.add);
    for (index, name) in operations.remove.iter().enumerate() {
        let at = at.field("remove").index(index);
        report.check(&at, header(name));
        if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
            report.error(
                &at,
                format!("{name} cannot be removed"),
                "set it to another value",
            );
        }
    }
}

/// Envoy's format of header values: `%COMMAND(...):LENGTH%`, and `%%` for a percent sign.
fn header_value(value: &str) -> Result<(), (String, String)> {
    let mut rest = value;
    while let Some(start) = rest.find('%') {
        rest = &rest[start + 1..];
        rest = match rest.strip_prefix('%') {
            Some(after) => after,
            None => match variable(rest) {
                Some(after) => after,
                None => {
                    return Err((
                        format!("{value:?} has a % that starts no variable"),
                        "write %% for a percent sign, or a variable such as %HOSTNAME%".into(),
                    ));
                }
            },
        };
    }
    Ok(())
}

/// What follows a variable of which the first percent sign is read already.
fn variable(text: &str) -> Option<&str> {
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let mut rest = text.trim_start_matches(is_name);
    if rest.len() == text.len() {
        return None;
    }
    if let Some(arguments) = rest.strip_prefix('(') {
        rest = &arguments[arguments.find(')')? + 1..];
    }
    if let Some(length) = rest.strip_prefix(':') {
        rest = length.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    rest.strip_prefix('%')
}

fn authority_once(route: &HttpRoute, change: &HttpRewrite, at: &FieldPath, report: &mut Report) {
    let request = |headers: &Option<Headers>| {
        headers
            .as_ref()
            .and_then(|h| h.request.as_ref())
            .is_some_and(|operations| {
                operations
                    .set
                    .keys()
                    .chain(operations.add.keys())
                    .any(|name| {
                        name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
                    })
            })
    };
    if !change.authority.is_empty()
        && (request(&route.headers) || route.route.iter().any(|entry| request(&entry.headers)))
    {
        report.error(
            &at.field("rewrite").field("authority"),
            "the authority is also set by headers",
            "set it in one place",
        );
    }
}

fn fault(fault: &HttpFaultInjection, at: &FieldPath, report: &mut Report) {
    if fault.delay.is_none() && fault.abort.is_none() {
        report.error(at, "neither delay nor abort", "add one, or remove fault");
    }
    if let Some(delay) = &fault.delay {
        let at = at.field("delay");
        match (delay.fixed_delay, delay.exponential_delay) {
            (None, None) => report.error(&at, "no fixedDelay", "say how long"),
            (Some(_), Some(_)) => {
                report.error(
                    &at,
                    "both fixedDelay and exponentialDelay",
                    "keep fixedDelay",
                );
            }
            (fixed, exponential) => {
                report.duration(&at.field("fixedDelay"), fixed);
                report.duration(&at.field("exponentialDelay"), exponential);
            }
        }
        if delay.percent != 0 {
            report.warning(
                &at.field("percent"),
                "is deprecated",
                "use percentage.value",
            );
            report.percent(&at.field("percent"), f64::from(delay.percent));
        }
        fraction(delay.percentage.as_ref(), &at, report);
    }
    if let Some(abort) = &fault.abort {
        let at = at.field("abort");
        fraction(abort.percentage.as_ref(), &at, report);
        let set = [
            abort.http_status.is_some(),
            abort.grpc_status.is_some(),
            abort.http2_error.is_some(),
        ];
        match set.iter().filter(|set| **set).count() {
            0 => report.error(&at, "no status", "set httpStatus or grpcStatus"),
            1 => {}
            _ => report.error(&at, "more than one status", "keep one of them"),
        }
        if let Some(status) = abort.http_status
            && !(200..=600).contains(&status)
        {
            let at = at.field("httpStatus");
            report.error(
                &at,
                format!("{status} is not in 200..599"),
                "write an HTTP status",
            );
        }
        if let Some(status) = &abort.grpc_status
            && !is_grpc_status(status)
        {
            report.error(
                &at.field("grpcStatus"),
                format!("{status:?} is not a gRPC status"),
                crate::did_you_mean(status, GRPC_STATUSES),
            );
        }
    }
}

const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn is_grpc_status(text: &str) -> bool {
    GRPC_STATUSES.contains(&text) || text.parse::<u8>().is_ok_and(|code| code <= 16)
}

/// 0, or at least one in a million.
fn fraction(percentage: Option<&Percent>, at: &FieldPath, report: &mut Report) {
    let Some(Percent { value }) = percentage else {
        return;
    };
    if !(*value == 0.0 || (0.0001..=100.0).contains(value)) {
        report.error(
            &at.field("percentage").field("value"),
            format!("{value} is neither 0 nor in 0.0001..100"),
            "write a percentage",
        );
    }
}

fn cors(policy: &CorsPolicy, at: &FieldPath, report: &mut Report) {
    if !policy.allow_origin.is_empty() {
        report.warning(
            &at.field("allowOrigin"),
            "is deprecated",
            "use allowOrigins",
        );
    }
    for (index, origin) in policy.allow_origins.iter().enumerate() {
        let at = at.field("allowOrigins").index(index);
        match origin {
            StringMatch::Present => {
                report.error(&at, "says not how to compare", "add exact, prefix or regex");
            }
            StringMatch::Exact(text) | StringMatch::Prefix(text) if text.is_empty() => {
                report.error(&at, "is empty", "write an origin");
            }
            StringMatch::Exact(_) | StringMatch::Prefix(_) => {}
            StringMatch::Regex(expression) => report.regex(&at.field("regex"), expression),
        }
    }
    for (index, method) in policy.allow_methods.iter().enumerate() {
        const METHODS: [&str; 10] = [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*",
        ];
        if !METHODS.contains(&method.as_str()) {
            report.error(
                &at.field("allowMethods").index(index),
                format!("{method:?} is not an HTTP method"),
                crate::did_you_mean(method, METHODS),
            );
        }
    }
    for (name, list) in [
        ("allowHeaders", &policy.allow_headers),
        ("exposeHeaders", &policy.expose_headers),
    ] {
        for (index, entry) in list.iter().enumerate() {
            report.check(&at.field(name).index(index), header(entry));
        }
    }
    if let Some(age) = policy.max_age {
        let at = at.field("maxAge");
        report.duration_or_zero(&at, Some(age));
        if age.get().subsec_nanos() != 0 {
            report.error(&at, "has parts of a second", "round it to seconds");
        }
    }
}

fn rewrite(change: &HttpRewrite, at: &FieldPath, report: &mut Report) {
    if change.uri.is_empty() && change.authority.is_empty() && change.uri_regex_rewrite.is_none() {
        report.error(
            at,
            "changes nothing",
            "add uri, uriRegexRewrite or authority",
        );
    }
    if let Some(substitution) = &change.uri_regex_rewrite {
        if !change.uri.is_empty() {
            report.error(at, "has both uri and uriRegexRewrite", "keep one of them");
        }
        let at = at.field("uriRegexRewrite");
        if substitution.pattern.is_empty() || substitution.rewrite.is_empty() {
            report.error(
                &at,
                "needs both match and rewrite",
                "add the one that is missing",
            );
        }
        report.regex(&at.field("match"), &substitution.pattern);
    }
}

fn redirect(to: &HttpRedirect, route: &HttpRoute, at: &FieldPath, report: &mut Report) {
    let changes = [&to.uri, &to.authority, &to.scheme, &to.prefix_rewrite];
    if changes.iter().all(|text| text.is_empty()) && to.port.is_none() && to.derive_port.is_none() {
        report.error(
            at,
            "changes nothing",
            "add uri, authority, scheme, port or redirectCode",
        );
    }
    if to.redirect_code != 0 && !(300..=399).contains(&to.redirect_code) {
        report.error(
            &at.field("redirectCode"),
            format!("{} is not a redirection", to.redirect_code),
            "use 301, 302, 303, 307 or 308",
        );
    }
    if !["", "http", "https"].contains(&to.scheme.as_str()) {
        let at = at.field("scheme");
        report.error(
            &at,
            format!("{:?} is not a scheme", to.scheme),
            "use http or https",
        );
    }
    if let Some(port) = to.port {
        report.port(&at.field("port"), port);
    }
    if to.port.is_some() && to.derive_port.is_some() {
        report.error(at, "has both port and derivePort", "keep one of them");
    }
    if !to.prefix_rewrite.is_empty() {
        if !to.uri.is_empty() {
            report.error(at, "has both uri and prefixRewrite", "keep one of them");
        }
        let by_prefix = route.matches.iter().all(|condition| {
            matches!(
                condition.uri,
                None | Some(StringMatch::Prefix(_) | StringMatch::Present)
            )
        });
        if !by_prefix {
            report.error(
                &at.field("prefixRewrite"),
                "needs matches of the uri by prefix",
                "use uri, or match by prefix",
            );
        }
    }
}

/// Longest body of a fixed response, Istio's bound.
const MAX_BODY: usize = 1 << 20;
/// Above this, Istio warns that proxies may refuse.
const LARGE_BODY: usize = 100 << 10;

fn direct_response(response: &HttpDirectResponse, at: &FieldPath, report: &mut Report) {
    if !(200..=599).contains(&response.status) {
        report.error(
            &at.field("status"),
            format!("{} is not in 200..599", response.status),
            "write an HTTP status",
        );
    }
    let Some(body) = &response.body else { return };
    let size = match (&body.string, &body.bytes) {
        (Some(_), Some(_)) => {
            return report.error(
                &at.field("body"),
                "both string and bytes",
                "keep one of them",
            );
        }
        (Some(text), None) => text.len(),
        (None, Some(bytes)) => bytes.0.len(),
        (None, None) => 0,
    };
    if size > MAX_BODY {
        report.error(
            &at.field("body"),
            format!("{size} bytes, more than {MAX_BODY}"),
            "shorten it",
        );
    } else if size > LARGE_BODY {
        let message = format!("{size} bytes; every proxy keeps them in memory");
        report.warning(&at.field("body"), message, "serve it from a service");
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
