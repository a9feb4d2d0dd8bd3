//! Which requests a route takes.

use std::collections::BTreeMap;

use meltemi_api::networking::{HttpMatchRequest, StringMatch};

use crate::pb::{self, matcher, route};
use crate::world::scope::Scope;
use crate::world::virtual_service::{ResolvedVirtualService, Semantics};
use matcher::string_matcher::MatchPattern;
use route::header_matcher::HeaderMatchSpecifier;
use route::query_parameter_matcher::QueryParameterMatchSpecifier;
use route::route_match::PathSpecifier;

/// Whether a match is for this proxy at all: its gateway, port, labels and namespace.
pub fn applies(
    scope: &Scope<'_>,
    service: &ResolvedVirtualService,
    matching: &HttpMatchRequest,
    port: u16,
    gateway: &str,
) -> bool {
    service.gateway_matches(&matching.gateways, gateway)
        && (matching.port == 0 || matching.port == u32::from(port))
        && scope.is_source(&matching.source_labels, &matching.source_namespace)
}

/// Every request.
pub fn everything() -> route::RouteMatch {
    route::RouteMatch {
        path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
        ..Default::default()
    }
}

pub fn translate(matching: &HttpMatchRequest, semantics: Semantics) -> route::RouteMatch {
    let path = match &matching.uri {
        None | Some(StringMatch::Present) => PathSpecifier::Prefix("/".to_owned()),
        Some(StringMatch::Exact(path)) => PathSpecifier::Path(path.clone()),
        Some(StringMatch::Prefix(prefix)) if semantics != Semantics::Istio && prefix != "/" => {
            PathSpecifier::PathSeparatedPrefix(prefix.trim_end_matches('/').to_owned())
        }
        Some(StringMatch::Prefix(prefix)) => PathSpecifier::Prefix(prefix.clone()),
        Some(StringMatch::Regex(regex)) => PathSpecifier::SafeRegex(pb::regex(regex)),
    };
    let mut headers = Vec::new();
    for (pseudo, wanted) in [
        (":method", &matching.method),
        (":authority", &matching.authority),
        (":scheme", &matching.scheme),
    ] {
        if let Some(wanted) = wanted {
            headers.push(header(pseudo, wanted, false));
        }
    }
    headers.extend(header_list(&matching.headers, false));
    headers.extend(header_list(&matching.without_headers, true));
    let query_parameters = matching
        .query_params
        .iter()
        .map(|(name, wanted)| route::QueryParameterMatcher {
            name: name.clone(),
            query_parameter_match_specifier: Some(match pattern(wanted) {
                Some(pattern) => {
                    QueryParameterMatchSpecifier::StringMatch(pb::string_matcher(pattern))
                }
                None => QueryParameterMatchSpecifier::PresentMatch(true),
            }),
        })
        .collect();
    route::RouteMatch {
        path_specifier: Some(path),
        // Regular expressions say themselves whether case matters ((?i)).
        case_sensitive: pb::boolv(!matching.ignore_uri_case),
        headers,
        query_parameters,
        ..Default::default()
    }
}

fn header_list(
    wanted: &BTreeMap<String, StringMatch>,
    invert: bool,
) -> impl Iterator<Item = route::HeaderMatcher> {
    wanted
        .iter()
        .map(move |(name, wanted)| header(name, wanted, invert))
}

fn header(name: &str, wanted: &StringMatch, invert: bool) -> route::HeaderMatcher {
    // Envoy's names of what HTTP/2 has as pseudo-headers, where users write them bare.
    let name = match name {
        "uri" => ":path",
        "method" => ":method",
        "authority" => ":authority",
        "scheme" => ":scheme",
        other => other,
    };
    let specifier = match pattern(wanted) {
        Some(pattern) => HeaderMatchSpecifier::StringMatch(pb::string_matcher(pattern)),
        None => HeaderMatchSpecifier::PresentMatch(true),
    };
    route::HeaderMatcher {
        name: name.to_owned(),
        invert_match: invert,
        header_match_specifier: Some(specifier),
        ..Default::default()
    }
}

/// A path without the segments of a prefix, but with the slash at its beginning.
pub fn without_prefix(prefix: Option<&StringMatch>) -> matcher::RegexMatchAndSubstitute {
    let prefix = match prefix {
        Some(StringMatch::Prefix(prefix)) => prefix.trim_end_matches('/'),
        _ => "",
    };
    matcher::RegexMatchAndSubstitute {
        pattern: Some(pb::regex(&format!("^{}(/?)(.*)", regex::escape(prefix)))),
        substitution: "/\\2".to_owned(),
    }
}

/// `None`: any value.
pub fn pattern(wanted: &StringMatch) -> Option<MatchPattern> {
    Some(match wanted {
        StringMatch::Present => return None,
        StringMatch::Exact(value) => MatchPattern::Exact(value.clone()),
        StringMatch::Prefix(value) => MatchPattern::Prefix(value.clone()),
        StringMatch::Regex(value) if value == "*" => return None,
        StringMatch::Regex(value) => MatchPattern::SafeRegex(pb::regex(value)),
    })
}

/// The path part of a route's name in spans.
pub fn operation(matching: Option<&HttpMatchRequest>) -> String {
    match matching.and_then(|matching| matching.uri.as_ref()) {
        None | Some(StringMatch::Present) => "/*".to_owned(),
        Some(StringMatch::Exact(path)) => path.clone(),
        Some(StringMatch::Prefix(prefix)) => format!("{prefix}*"),
        Some(StringMatch::Regex(regex)) => regex.clone(),
    }
}
