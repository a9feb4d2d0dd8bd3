//! What the proxy changes or answers itself: CORS, rewriting, redirection, fixed responses.

use super::super::names::header;
use super::super::report::Report;
use crate::FieldPath;
use crate::networking::{
    CorsPolicy, HttpDirectResponse, HttpRedirect, HttpRewrite, HttpRoute, StringMatch,
};

pub(super) fn cors(policy: &CorsPolicy, at: &FieldPath, report: &mut Report) {
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

pub(super) fn rewrite(change: &HttpRewrite, at: &FieldPath, report: &mut Report) {
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

pub(super) fn redirect(to: &HttpRedirect, route: &HttpRoute, at: &FieldPath, report: &mut Report) {
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

pub(super) fn direct_response(response: &HttpDirectResponse, at: &FieldPath, report: &mut Report) {
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
