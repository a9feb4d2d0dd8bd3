//! Filters of rules and backends.

use std::collections::BTreeMap;

use meltemi_api::Duration;
use meltemi_api::gateway_api::{
    CorsFilter, HeaderFilter, HttpFilterType, HttpHeader, HttpRouteFilter, PathModifier,
    PathModifierType, RequestMirrorFilter, RequestRedirectFilter, UrlRewriteFilter,
};
use meltemi_api::networking::{
    CorsPolicy, HeaderOperations, Headers, HttpMirrorPolicy, HttpRedirect, HttpRewrite, HttpRoute,
    Percent, RedirectPortSelection, RegexRewrite, StringMatch,
};

use super::backends::Rules;

/// What browsers keep the answer to a preflight for, where the filter does not say: 5 s.
const CORS_MAX_AGE: u32 = 5;

/// Adds the filters of an HTTP rule to a route; whether all of them are supported.
pub fn http(
    rules: &mut Rules<'_, '_>,
    filters: &[HttpRouteFilter],
    uri: &StringMatch,
    field: &str,
    route: &mut HttpRoute,
) -> bool {
    let before = rules.unsupported.len();
    for (index, filter) in filters.iter().enumerate() {
        let field = format!("{field}.filters[{index}]");
        match filter.kind {
            Some(HttpFilterType::RequestHeaderModifier) => {
                headers(&mut route.headers).request =
                    operations(filter.request_header_modifier.as_ref());
            }
            Some(HttpFilterType::ResponseHeaderModifier) => {
                headers(&mut route.headers).response =
                    operations(filter.response_header_modifier.as_ref());
            }
            Some(HttpFilterType::RequestMirror) => {
                let copies = filter.request_mirror.as_ref();
                route
                    .mirrors
                    .extend(copies.and_then(|copies| mirror(rules, copies, &field)));
            }
            Some(HttpFilterType::RequestRedirect) => {
                route.redirect = filter.request_redirect.as_ref().map(|f| redirect(f, uri));
            }
            Some(HttpFilterType::UrlRewrite) => {
                route.rewrite = filter.url_rewrite.as_ref().map(|f| rewrite(f, uri));
            }
            Some(HttpFilterType::Cors) => route.cors_policy = filter.cors.as_ref().map(cors),
            Some(other @ (HttpFilterType::ExtensionRef | HttpFilterType::ExternalAuth)) => {
                rules.not_supported(&field, other.as_str());
            }
            None => {}
        }
    }
    rules.unsupported.len() == before
}

pub fn headers(of: &mut Option<Headers>) -> &mut Headers {
    of.get_or_insert_default()
}

/// Header changes; of several entries for a header the first counts.
pub fn operations(filter: Option<&HeaderFilter>) -> Option<HeaderOperations> {
    let filter = filter?;
    let map = |list: &[HttpHeader]| {
        let mut map = BTreeMap::new();
        for header in list {
            map.entry(header.name.to_ascii_lowercase())
                .or_insert_with(|| header.value.clone());
        }
        map
    };
    Some(HeaderOperations {
        set: map(&filter.set),
        add: map(&filter.add),
        remove: filter.remove.clone(),
    })
}

/// A copy of requests; none to a backend that must not be reached.
pub fn mirror(
    rules: &mut Rules<'_, '_>,
    filter: &RequestMirrorFilter,
    field: &str,
) -> Option<HttpMirrorPolicy> {
    let field = format!("{field}.requestMirror.backendRef");
    let destination = rules.destination(filter.backend_ref.as_ref()?.into(), &field);
    let percent = match (&filter.fraction, filter.percent) {
        (Some(fraction), _) => {
            let whole = fraction.denominator.unwrap_or(100).max(1);
            Some(100.0 * f64::from(fraction.numerator) / f64::from(whole))
        }
        (None, percent) => percent.map(f64::from),
    };
    (!destination.host.is_empty()).then(|| HttpMirrorPolicy {
        destination,
        percentage: percent.map(|value| Percent { value }),
    })
}

fn redirect(filter: &RequestRedirectFilter, uri: &StringMatch) -> HttpRedirect {
    let (full, prefix) = match modified(filter.path.as_ref(), uri) {
        Some(Path::Full(path)) => (path, String::new()),
        Some(Path::Prefix(prefix)) => (String::new(), prefix),
        None => Default::default(),
    };
    HttpRedirect {
        uri: full,
        prefix_rewrite: prefix,
        authority: filter.hostname.clone(),
        scheme: filter.scheme.clone(),
        port: filter.port,
        // Without port and scheme the request's port stays.
        derive_port: filter
            .port
            .is_none()
            .then_some(match filter.scheme.as_str() {
                "" => RedirectPortSelection::FromRequestPort,
                _ => RedirectPortSelection::FromProtocolDefault,
            }),
        redirect_code: filter.status_code.unwrap_or(302),
    }
}

fn rewrite(filter: &UrlRewriteFilter, uri: &StringMatch) -> HttpRewrite {
    let mut rewrite = HttpRewrite {
        authority: filter.hostname.clone(),
        ..HttpRewrite::default()
    };
    match modified(filter.path.as_ref(), uri) {
        None => {}
        Some(Path::Full(path)) => {
            rewrite.uri_regex_rewrite = Some(RegexRewrite {
                pattern: "/.*".to_owned(),
                rewrite: path.replace('\\', "\\\\"),
            });
        }
        // The rest keeps its slash, and has one where there is no rest.
        Some(Path::Prefix(prefix)) if prefix == "/" => {
            rewrite.uri_regex_rewrite = Some(RegexRewrite {
                pattern: format!("^{}(/?)(.*)", regex::escape(matched_prefix(uri))),
                rewrite: "/\\2".to_owned(),
            });
        }
        Some(Path::Prefix(prefix)) => rewrite.uri = prefix,
    }
    rewrite
}

enum Path {
    Full(String),
    /// In place of the prefix that matched; `/` removes it.
    Prefix(String),
}

fn modified(modifier: Option<&PathModifier>, uri: &StringMatch) -> Option<Path> {
    let modifier = modifier?;
    match modifier.kind? {
        PathModifierType::ReplaceFullPath => modifier.replace_full_path.clone().map(Path::Full),
        PathModifierType::ReplacePrefixMatch => {
            let new = modifier
                .replace_prefix_match
                .as_deref()?
                .trim_end_matches('/');
            Some(Path::Prefix(match (new, matched_prefix(uri)) {
                ("", _) => "/".to_owned(),
                // All of what matched is the slash that separates the two.
                (new, "") => format!("{new}/"),
                (new, _) => new.to_owned(),
            }))
        }
    }
}

/// Without a slash at its end: empty for every path.
fn matched_prefix(uri: &StringMatch) -> &str {
    match uri {
        StringMatch::Prefix(prefix) => prefix.trim_end_matches('/'),
        _ => "",
    }
}

fn cors(filter: &CorsFilter) -> CorsPolicy {
    let origin = |origin: &String| match origin.contains('*') {
        false => StringMatch::Exact(origin.clone()),
        true => {
            let parts: Vec<String> = origin.split('*').map(regex::escape).collect();
            StringMatch::Regex(parts.join(".*"))
        }
    };
    CorsPolicy {
        allow_origins: filter.allow_origins.iter().map(origin).collect(),
        allow_methods: filter.allow_methods.clone(),
        allow_headers: filter.allow_headers.clone(),
        expose_headers: filter.expose_headers.clone(),
        allow_credentials: filter.allow_credentials,
        max_age: Some(Duration::from_secs(
            filter.max_age.unwrap_or(CORS_MAX_AGE).into(),
        )),
        ..CorsPolicy::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> StringMatch {
        StringMatch::Prefix(text.to_owned())
    }

    fn replaced(uri: &str, new: &str) -> HttpRewrite {
        let path = PathModifier {
            kind: Some(PathModifierType::ReplacePrefixMatch),
            replace_prefix_match: Some(new.to_owned()),
            ..PathModifier::default()
        };
        let filter = UrlRewriteFilter {
            path: Some(path),
            ..UrlRewriteFilter::default()
        };
        rewrite(&filter, &prefix(uri))
    }

    #[test]
    fn prefixes_are_replaced_by_whole_segments() {
        assert_eq!(replaced("/old", "/new/").uri, "/new");
        assert_eq!(replaced("/", "/new").uri, "/new/");
        let removed = replaced("/old.x", "/").uri_regex_rewrite.unwrap();
        assert_eq!(removed.pattern, "^/old\\.x(/?)(.*)");
        let pattern = regex::Regex::new(&removed.pattern).unwrap();
        for (path, left) in [("/old.x/a", "/a"), ("/old.x", "/"), ("/old.x/", "/")] {
            assert_eq!(pattern.replace(path, "/$2"), left, "{path}");
        }
    }

    #[test]
    fn a_redirection_keeps_the_port_unless_the_scheme_changes() {
        let to_https = RequestRedirectFilter {
            scheme: "https".to_owned(),
            ..RequestRedirectFilter::default()
        };
        let made = redirect(&to_https, &prefix("/"));
        assert_eq!(made.redirect_code, 302);
        assert_eq!(
            made.derive_port,
            Some(RedirectPortSelection::FromProtocolDefault)
        );
        let made = redirect(&RequestRedirectFilter::default(), &prefix("/"));
        assert_eq!(
            made.derive_port,
            Some(RedirectPortSelection::FromRequestPort)
        );
    }

    #[test]
    fn origins_with_wildcards_are_expressions() {
        let filter = CorsFilter {
            allow_origins: vec!["https://*.a.b".to_owned(), "http://c".to_owned()],
            ..CorsFilter::default()
        };
        assert_eq!(
            cors(&filter).allow_origins,
            [
                StringMatch::Regex("https://.*\\.a\\.b".to_owned()),
                StringMatch::Exact("http://c".to_owned())
            ]
        );
    }
}
