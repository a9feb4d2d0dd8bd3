//! Filters: the field of the type is set and no other, and none is repeated.

use super::super::report::Report;
use super::{hostname, reference};
use crate::FieldPath;
use crate::gateway_api::{
    CorsFilter, GrpcFilterType, GrpcRouteFilter, HeaderFilter, HttpFilterType, HttpRouteFilter,
    PathModifier, PathModifierType, RequestMirrorFilter,
};

/// Most filters of a rule or a backend.
const FILTERS: usize = 16;

/// Where a filter stands decides what it may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Rule,
    Backend,
}

pub(super) fn http(filters: &[HttpRouteFilter], place: Place, at: &FieldPath, report: &mut Report) {
    let at = at.field("filters");
    report.at_most_items(&at, filters.len(), FILTERS);
    let has = |kind| filters.iter().any(|filter| filter.kind == Some(kind));
    if has(HttpFilterType::RequestRedirect) && has(HttpFilterType::UrlRewrite) {
        let message = "a request is redirected or rewritten, not both";
        report.error(&at, message, "remove RequestRedirect or URLRewrite");
    }
    for (index, filter) in filters.iter().enumerate() {
        let at = at.index(index);
        let Some(kind) = filter.kind else {
            report.error(&at.field("type"), "is required", "name the filter's type");
            continue;
        };
        let set = [
            (
                filter.request_header_modifier.is_some(),
                HttpFilterType::RequestHeaderModifier,
                "requestHeaderModifier",
            ),
            (
                filter.response_header_modifier.is_some(),
                HttpFilterType::ResponseHeaderModifier,
                "responseHeaderModifier",
            ),
            (
                filter.request_mirror.is_some(),
                HttpFilterType::RequestMirror,
                "requestMirror",
            ),
            (
                filter.request_redirect.is_some(),
                HttpFilterType::RequestRedirect,
                "requestRedirect",
            ),
            (
                filter.url_rewrite.is_some(),
                HttpFilterType::UrlRewrite,
                "urlRewrite",
            ),
            (
                filter.extension_ref.is_some(),
                HttpFilterType::ExtensionRef,
                "extensionRef",
            ),
            (filter.cors.is_some(), HttpFilterType::Cors, "cors"),
            (
                filter.external_auth.is_some(),
                HttpFilterType::ExternalAuth,
                "externalAuth",
            ),
        ];
        one_of(
            set.map(|(set, of, name)| (set, of == kind, name)),
            kind.as_str(),
            &at,
            report,
        );
        let repeatable = matches!(
            kind,
            HttpFilterType::RequestMirror
                | HttpFilterType::ExtensionRef
                | HttpFilterType::ExternalAuth
        );
        if !repeatable
            && filters[..index]
                .iter()
                .any(|other| other.kind == Some(kind))
        {
            repeated(kind.as_str(), &at, report);
        }
        let unsupported = matches!(
            kind,
            HttpFilterType::ExtensionRef | HttpFilterType::ExternalAuth
        );
        let headers = matches!(
            kind,
            HttpFilterType::RequestHeaderModifier | HttpFilterType::ResponseHeaderModifier
        );
        if unsupported || (place == Place::Backend && !headers) {
            not_supported(kind.as_str(), place, &at, report);
        }
        content(filter, &at, report);
    }
}

fn content(filter: &HttpRouteFilter, at: &FieldPath, report: &mut Report) {
    for (modifier, name) in [
        (&filter.request_header_modifier, "requestHeaderModifier"),
        (&filter.response_header_modifier, "responseHeaderModifier"),
    ] {
        if let Some(modifier) = modifier {
            headers(modifier, &at.field(name), report);
        }
    }
    if let Some(filter) = &filter.request_mirror {
        mirror(filter, &at.field("requestMirror"), report);
    }
    if let Some(redirect) = &filter.request_redirect {
        let at = at.field("requestRedirect");
        if !["", "http", "https"].contains(&redirect.scheme.as_str()) {
            let message = format!("{:?} is not a scheme", redirect.scheme);
            report.error(&at.field("scheme"), message, "write http or https");
        }
        if !redirect.hostname.is_empty() {
            hostname(&redirect.hostname, false, &at.field("hostname"), report);
        }
        if let Some(port) = redirect.port {
            report.port(&at.field("port"), port);
        }
        if let Some(code) = redirect.status_code
            && ![301, 302, 303, 307, 308].contains(&code)
        {
            let message = format!("{code} is not a redirection");
            report.error(
                &at.field("statusCode"),
                message,
                "write 301, 302, 303, 307 or 308",
            );
        }
        path(redirect.path.as_ref(), &at.field("path"), report);
    }
    if let Some(rewrite) = &filter.url_rewrite {
        let at = at.field("urlRewrite");
        if !rewrite.hostname.is_empty() {
            hostname(&rewrite.hostname, false, &at.field("hostname"), report);
        }
        path(rewrite.path.as_ref(), &at.field("path"), report);
    }
    if let Some(filter) = &filter.cors {
        cors(filter, &at.field("cors"), report);
    }
    if let Some(auth) = &filter.external_auth
        && let Some(backend) = &auth.backend_ref
    {
        let at = at.field("externalAuth").field("backendRef");
        reference::backend(backend.into(), &at, report);
    }
}

pub(super) fn grpc(filters: &[GrpcRouteFilter], place: Place, at: &FieldPath, report: &mut Report) {
    let at = at.field("filters");
    report.at_most_items(&at, filters.len(), FILTERS);
    for (index, filter) in filters.iter().enumerate() {
        let at = at.index(index);
        let Some(kind) = filter.kind else {
            report.error(&at.field("type"), "is required", "name the filter's type");
            continue;
        };
        let set = [
            (
                filter.request_header_modifier.is_some(),
                GrpcFilterType::RequestHeaderModifier,
                "requestHeaderModifier",
            ),
            (
                filter.response_header_modifier.is_some(),
                GrpcFilterType::ResponseHeaderModifier,
                "responseHeaderModifier",
            ),
            (
                filter.request_mirror.is_some(),
                GrpcFilterType::RequestMirror,
                "requestMirror",
            ),
            (
                filter.extension_ref.is_some(),
                GrpcFilterType::ExtensionRef,
                "extensionRef",
            ),
        ];
        one_of(
            set.map(|(set, of, name)| (set, of == kind, name)),
            kind.as_str(),
            &at,
            report,
        );
        let headers_only = matches!(
            kind,
            GrpcFilterType::RequestHeaderModifier | GrpcFilterType::ResponseHeaderModifier
        );
        if headers_only
            && filters[..index]
                .iter()
                .any(|other| other.kind == Some(kind))
        {
            repeated(kind.as_str(), &at, report);
        }
        if kind == GrpcFilterType::ExtensionRef || (place == Place::Backend && !headers_only) {
            not_supported(kind.as_str(), place, &at, report);
        }
        for (modifier, name) in [
            (&filter.request_header_modifier, "requestHeaderModifier"),
            (&filter.response_header_modifier, "responseHeaderModifier"),
        ] {
            if let Some(modifier) = modifier {
                headers(modifier, &at.field(name), report);
            }
        }
        if let Some(filter) = &filter.request_mirror {
            mirror(filter, &at.field("requestMirror"), report);
        }
    }
}

/// Of the fields (set, of this type, name) the type's is set and no other.
fn one_of<const N: usize>(
    fields: [(bool, bool, &str); N],
    kind: &str,
    at: &FieldPath,
    report: &mut Report,
) {
    for (set, own, name) in fields {
        if own && !set {
            let message = format!("is required for a filter of type {kind}");
            report.error(&at.field(name), message, "add it");
        }
        if set && !own {
            let message = format!("belongs to another type than {kind}");
            report.error(&at.field(name), message, "remove it, or change the type");
        }
    }
}

fn repeated(kind: &str, at: &FieldPath, report: &mut Report) {
    let message = format!("{kind} is there for a second time");
    report.error(at, message, "merge the two");
}

fn not_supported(kind: &str, place: Place, at: &FieldPath, report: &mut Report) {
    let (what, remedy) = match place {
        Place::Rule => (format!("{kind} is not supported"), "remove the filter"),
        Place::Backend => (
            format!("{kind} is not supported for a single backend"),
            "move the filter to the rule, or remove it",
        ),
    };
    let message = format!("{what}: requests of this rule get 500 instead of passing without it");
    report.notice(at, message, remedy);
}

fn headers(filter: &HeaderFilter, at: &FieldPath, report: &mut Report) {
    for (list, name) in [(&filter.set, "set"), (&filter.add, "add")] {
        let at = at.field(name);
        report.at_most_items(&at, list.len(), FILTERS);
        for (index, header) in list.iter().enumerate() {
            header_name(&header.name, &at.index(index).field("name"), report);
        }
    }
    let at = at.field("remove");
    report.at_most_items(&at, filter.remove.len(), FILTERS);
    for (index, name) in filter.remove.iter().enumerate() {
        header_name(name, &at.index(index), report);
    }
}

/// RFC 9110's token.
pub(super) fn header_name(name: &str, at: &FieldPath, report: &mut Report) {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 256 || !name.bytes().all(token) {
        let message = format!("{name:?} is not a header's name");
        report.error(at, message, "use letters, digits and '-'");
    }
}

fn mirror(filter: &RequestMirrorFilter, at: &FieldPath, report: &mut Report) {
    match &filter.backend_ref {
        Some(backend) => reference::backend(backend.into(), &at.field("backendRef"), report),
        None => report.error(&at.field("backendRef"), "is required", "name a Service"),
    }
    if filter.percent.is_some() && filter.fraction.is_some() {
        report.error(
            &at.field("percent"),
            "excludes fraction",
            "keep one of the two",
        );
    }
    if filter.percent.is_some_and(|percent| percent > 100) {
        report.error(&at.field("percent"), "is more than 100", "write 0 to 100");
    }
    if let Some(fraction) = &filter.fraction {
        let denominator = fraction.denominator.unwrap_or(100);
        if denominator == 0 || fraction.numerator > denominator {
            let message = format!("{}/{denominator} is no share", fraction.numerator);
            report.error(
                &at.field("fraction"),
                message,
                "write a fraction from 0 to 1",
            );
        }
    }
}

fn path(modifier: Option<&PathModifier>, at: &FieldPath, report: &mut Report) {
    let Some(modifier) = modifier else { return };
    let Some(kind) = modifier.kind else {
        return report.error(
            &at.field("type"),
            "is required",
            "write ReplaceFullPath or ReplacePrefixMatch",
        );
    };
    one_of(
        [
            (
                modifier.replace_full_path.is_some(),
                kind == PathModifierType::ReplaceFullPath,
                "replaceFullPath",
            ),
            (
                modifier.replace_prefix_match.is_some(),
                kind == PathModifierType::ReplacePrefixMatch,
                "replacePrefixMatch",
            ),
        ],
        kind.as_str(),
        at,
        report,
    );
}

fn cors(filter: &CorsFilter, at: &FieldPath, report: &mut Report) {
    for (list, name) in [
        (&filter.allow_origins, "allowOrigins"),
        (&filter.allow_methods, "allowMethods"),
        (&filter.allow_headers, "allowHeaders"),
    ] {
        let at = at.field(name);
        report.at_most_items(&at, list.len(), 64);
        if list.len() > 1 && list.iter().any(|entry| entry == "*") {
            report.error(
                &at,
                "has \"*\" beside others",
                "keep \"*\" alone, or remove it",
            );
        }
    }
    for (index, origin) in filter.allow_origins.iter().enumerate() {
        let known = ["http://", "https://"].iter().any(|scheme| {
            origin
                .strip_prefix(scheme)
                .is_some_and(|host| !host.is_empty())
        });
        if origin != "*" && !known {
            let at = at.field("allowOrigins").index(index);
            let message = format!("{origin:?} is not an origin");
            report.error(
                &at,
                message,
                "write http://HOST or https://HOST, with a port if it has one",
            );
        }
    }
}
