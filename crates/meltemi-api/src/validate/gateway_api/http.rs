//! HTTPRoute and GRPCRoute.

use super::super::report::Report;
use super::filter::{self, Place};
use super::{hostname, reference, unique_names};
use crate::FieldPath;
use crate::gateway_api::{
    GrpcMethodMatch, GrpcRoute, HttpFilterType, HttpPathMatch, HttpRoute, HttpRouteFilter,
    HttpRouteRule, PathMatchType, PathModifierType, SessionPersistence, SessionType, ValueMatch,
    ValueMatchType,
};

/// Most host names of a route.
const HOSTNAMES: usize = 16;
/// Most rules of a route.
const RULES: usize = 16;
/// Most matches of a rule.
const MATCHES: usize = 64;
/// Most matches of all rules.
const ALL_MATCHES: usize = 128;
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

pub(in crate::validate) fn http_route(spec: &HttpRoute, at: &FieldPath, report: &mut Report) {
    reference::parents(&spec.parent_refs, at, report);
    hostnames(&spec.hostnames, at, report);
    let at = at.field("rules");
    numbers(
        spec.rules.iter().map(|rule| rule.matches.len()),
        &at,
        report,
    );
    unique_names(
        spec.rules.iter().map(|rule| rule.name.as_str()),
        &at,
        report,
    );
    for (index, rule) in spec.rules.iter().enumerate() {
        http_rule(rule, &at.index(index), report);
    }
}

fn http_rule(rule: &HttpRouteRule, at: &FieldPath, report: &mut Report) {
    for (index, matching) in rule.matches.iter().enumerate() {
        let at = at.field("matches").index(index);
        if let Some(path) = &matching.path {
            path_match(path, &at.field("path"), report);
        }
        values(&matching.headers, &at.field("headers"), true, report);
        values(
            &matching.query_params,
            &at.field("queryParams"),
            false,
            report,
        );
        if !matching.method.is_empty() && !METHODS.contains(&matching.method.as_str()) {
            let message = format!("{:?} is not a method", matching.method);
            let remedy = format!("write one of {}", METHODS.join(", "));
            report.error(&at.field("method"), message, remedy);
        }
    }
    filter::http(&rule.filters, Place::Rule, at, report);
    let backends = at.field("backendRefs");
    reference::backends(&rule.backend_refs, &backends, report);
    let redirects = |filters: &[HttpRouteFilter]| {
        filters
            .iter()
            .any(|filter| filter.kind == Some(HttpFilterType::RequestRedirect))
    };
    if redirects(&rule.filters) && !rule.backend_refs.is_empty() {
        let message = "a redirected request reaches no backend";
        report.error(
            &backends,
            message,
            "remove backendRefs or the RequestRedirect",
        );
    }
    let by_prefix = matches!(
        &rule.matches[..],
        [only] if only.path.as_ref().is_none_or(|path| path.kind == PathMatchType::PathPrefix)
    ) || rule.matches.is_empty();
    if replaces_prefix(&rule.filters) && !by_prefix {
        report.error(
            &at.field("matches"),
            "replacePrefixMatch needs exactly one match, of a path by PathPrefix",
            "split the rule, or use replaceFullPath",
        );
    }
    for (index, backend) in rule.backend_refs.iter().enumerate() {
        filter::http(
            &backend.filters,
            Place::Backend,
            &backends.index(index),
            report,
        );
    }
    if let Some(retry) = &rule.retry {
        for (index, code) in retry.codes.iter().enumerate() {
            if !(400..=599).contains(code) {
                let at = at.field("retry").field("codes").index(index);
                report.error(&at, format!("{code} is no error"), "write 400 to 599");
            }
        }
    }
    if let Some(timeouts) = &rule.timeouts
        && let (Some(request), Some(backend)) = (timeouts.request, timeouts.backend_request)
        && !request.is_zero()
        && backend > request
    {
        report.error(
            &at.field("timeouts").field("backendRequest"),
            format!("{backend} is longer than the whole request's {request}"),
            "shorten it",
        );
    }
    session(rule.session_persistence.as_ref(), at, report);
}

fn replaces_prefix(filters: &[HttpRouteFilter]) -> bool {
    filters.iter().any(|filter| {
        let redirect = filter
            .request_redirect
            .as_ref()
            .and_then(|f| f.path.as_ref());
        let rewrite = filter.url_rewrite.as_ref().and_then(|f| f.path.as_ref());
        redirect
            .or(rewrite)
            .is_some_and(|path| path.kind == Some(PathModifierType::ReplacePrefixMatch))
    })
}

pub(in crate::validate) fn grpc_route(spec: &GrpcRoute, at: &FieldPath, report: &mut Report) {
    reference::parents(&spec.parent_refs, at, report);
    hostnames(&spec.hostnames, at, report);
    let at = at.field("rules");
    numbers(
        spec.rules.iter().map(|rule| rule.matches.len()),
        &at,
        report,
    );
    unique_names(
        spec.rules.iter().map(|rule| rule.name.as_str()),
        &at,
        report,
    );
    for (index, rule) in spec.rules.iter().enumerate() {
        let at = at.index(index);
        for (index, matching) in rule.matches.iter().enumerate() {
            let at = at.field("matches").index(index);
            if let Some(method) = &matching.method {
                method_match(method, &at.field("method"), report);
            }
            values(&matching.headers, &at.field("headers"), true, report);
        }
        filter::grpc(&rule.filters, Place::Rule, &at, report);
        let backends = at.field("backendRefs");
        reference::backends(&rule.backend_refs, &backends, report);
        for (index, backend) in rule.backend_refs.iter().enumerate() {
            filter::grpc(
                &backend.filters,
                Place::Backend,
                &backends.index(index),
                report,
            );
        }
        session(rule.session_persistence.as_ref(), &at, report);
    }
}

fn hostnames(names: &[String], at: &FieldPath, report: &mut Report) {
    let at = at.field("hostnames");
    report.at_most_items(&at, names.len(), HOSTNAMES);
    for (index, name) in names.iter().enumerate() {
        hostname(name, true, &at.index(index), report);
    }
}

fn numbers(matches: impl Iterator<Item = usize>, at: &FieldPath, report: &mut Report) {
    let (mut rules, mut all) = (0, 0);
    for (index, number) in matches.enumerate() {
        report.at_most_items(&at.index(index).field("matches"), number, MATCHES);
        rules += 1;
        all += number;
    }
    report.at_most_items(at, rules, RULES);
    if all > ALL_MATCHES {
        let message = format!("have {all} matches together, more than {ALL_MATCHES}");
        report.error(at, message, "split the route");
    }
}

fn path_match(path: &HttpPathMatch, at: &FieldPath, report: &mut Report) {
    let value = path.value.as_deref().unwrap_or("/");
    let at = at.field("value");
    report.at_most(&at, value, 1024);
    if path.kind == PathMatchType::RegularExpression {
        return report.regex(&at, value);
    }
    if !value.starts_with('/') {
        let message = format!("{value:?} is not an absolute path");
        return report.error(&at, message, "begin it with /");
    }
    let normalized = !["//", "/./", "/../", "%2f", "%2F", "#"]
        .iter()
        .any(|part| value.contains(part))
        && !value.ends_with("/..")
        && !value.ends_with("/.");
    if !normalized {
        report.error(
            &at,
            format!("{value:?} is not a normalized path, which no request would match"),
            "leave out //, /./, /../, %2F and #",
        );
    }
    if !value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@%".contains(&b))
        && normalized
    {
        let message = format!("{value:?} has characters that a path cannot have");
        report.error(&at, message, "percent-encode them");
    }
}

fn method_match(matching: &GrpcMethodMatch, at: &FieldPath, report: &mut Report) {
    if matching.service.is_empty() && matching.method.is_empty() {
        report.error(at, "has neither service nor method", "name one or both");
    }
    for (text, name) in [(&matching.service, "service"), (&matching.method, "method")] {
        let at = at.field(name);
        report.at_most(&at, text, 1024);
        let named =
            |b: u8| b.is_ascii_alphanumeric() || b == b'_' || (b == b'.' && name == "service");
        match matching.kind {
            ValueMatchType::RegularExpression => report.regex(&at, text),
            ValueMatchType::Exact if !text.bytes().all(named) => {
                let message = format!("{text:?} is not a {name}'s name");
                report.error(&at, message, "write it as in the .proto file");
            }
            ValueMatchType::Exact => {}
        }
    }
}

fn values(list: &[ValueMatch], at: &FieldPath, headers: bool, report: &mut Report) {
    report.at_most_items(at, list.len(), 16);
    for (index, wanted) in list.iter().enumerate() {
        let at = at.index(index);
        filter::header_name(&wanted.name, &at.field("name"), report);
        report.required(&at.field("value"), &wanted.value, "write the value");
        if wanted.kind == ValueMatchType::RegularExpression {
            report.regex(&at.field("value"), &wanted.value);
        }
        let same = |other: &ValueMatch| match headers {
            true => other.name.eq_ignore_ascii_case(&wanted.name),
            false => other.name == wanted.name,
        };
        if list[..index].iter().any(same) {
            let message = format!(
                "{:?} is there for a second time; only the first counts",
                wanted.name
            );
            report.warning(&at.field("name"), message, "remove one of the two");
        }
    }
}

fn session(session: Option<&SessionPersistence>, at: &FieldPath, report: &mut Report) {
    let Some(session) = session else { return };
    let at = at.field("sessionPersistence");
    for (set, kind, name) in [
        (session.cookie.is_some(), SessionType::Cookie, "cookie"),
        (session.header.is_some(), SessionType::Header, "header"),
    ] {
        if set && session.kind != kind {
            let message = format!("belongs to another type than {}", session.kind);
            report.error(&at.field(name), message, "remove it, or change the type");
        }
    }
}
