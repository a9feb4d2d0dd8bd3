//! Routing, beside a linear scan by the words of Envoy's documentation: of all domains that hold
//! a request's authority the most specific one, and of its virtual host's routes the first whose
//! conditions all hold. Calls take the way of real ones, with their head's checks.
//!
//! An input is lines: `o` ignores ports in authorities, `h DOMAIN...` begins a virtual host,
//! `r PATH WORD...` is a route of it, `q METHOD AUTHORITY TARGET NAME=VALUE...` a request. The
//! path's first letter is `p` for a prefix, `e` for an exact one, `s` for a prefix of whole
//! segments, `g` for an expression in which `*` stands for any characters. Of the words, `i` ignores
//! case, `+NAME=VALUE` wants a header, `^NAME=VALUE` one that begins so, `!NAME` none,
//! `?NAME=VALUE` and `?NAME` a query parameter, `mMETHOD` a method, `g` gRPC.
#![no_main]

use http::Request;
use libfuzzer_sys::fuzz_target;
use meltemi_fuzz::{Words, address, any, filter};
use meltemi_proxy::compile::pb;
use meltemi_proxy::model::Direction;
use meltemi_proxy::offline::{Call, Offline, Outcome};
use meltemi_proxy::telemetry::Protocol;
use pb::matcher::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use pb::route::header_matcher::HeaderMatchSpecifier;
use pb::route::query_parameter_matcher::QueryParameterMatchSpecifier;
use pb::route::route_match::{GrpcRouteMatchOptions, PathSpecifier};
use pb::route::{
    HeaderMatcher, QueryParameterMatcher, RouteConfiguration, RouteMatch, VirtualHost,
};
use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;

const MAX_HOSTS: usize = 16;
const MAX_ROUTES: usize = 32;
/// Expressions take long to compile.
const MAX_EXPRESSIONS: usize = 2;

struct Host<'a> {
    domains: Vec<&'a str>,
    routes: Vec<Route<'a>>,
}

struct Route<'a> {
    kind: char,
    path: &'a str,
    conditions: Vec<Condition<'a>>,
}

#[derive(PartialEq)]
enum Condition<'a> {
    IgnoreCase,
    Method(&'a str),
    Grpc,
    Header(&'a str, &'a str),
    HeaderBegins(&'a str, &'a str),
    NoHeader(&'a str),
    Query(&'a str, Option<&'a str>),
}

fuzz_target!(|input: &[u8]| {
    let mut ignore_port = false;
    let mut hosts: Vec<Host<'_>> = Vec::new();
    let mut requests = Vec::new();
    let mut expressions = 0;
    for words in Words::lines(input) {
        match words.kind {
            'o' => ignore_port = true,
            'h' if hosts.len() < MAX_HOSTS && words.all().next().is_some() => hosts.push(Host {
                domains: words.all().collect(),
                routes: Vec::new(),
            }),
            'r' => {
                let route = Route::read(&words);
                expressions += usize::from(route.as_ref().is_some_and(|route| route.kind == 'g'));
                let host = hosts
                    .last_mut()
                    .filter(|host| host.routes.len() < MAX_ROUTES);
                if let Some(host) = host.filter(|_| expressions <= MAX_EXPRESSIONS) {
                    host.routes.extend(route);
                }
            }
            'q' => requests.extend(request(&words)),
            _ => {}
        }
    }
    if hosts.is_empty() {
        return;
    }
    let mut domains = hosts.iter().flat_map(|host| &host.domains);
    let mut seen = HashSet::new();
    let unique = domains.all(|domain| seen.insert(domain.to_ascii_lowercase()));
    let offline = Offline::new([listener(ignore_port, &hosts)], [], []);
    assert_eq!(
        offline.refused().is_empty(),
        unique,
        "{:?}",
        offline.refused()
    );
    if !unique {
        return;
    }
    for (parts, target) in requests {
        let headers = parts.headers.clone();
        let method = parts.method.clone();
        let any = SocketAddr::from(([127, 0, 0, 1], 80));
        let call = Call {
            direction: Direction::Outbound,
            destination: any,
            source: any,
            tls: None,
            request: Some((Protocol::Http11, parts)),
        };
        let Outcome::Request(found) = offline.decide(&call).outcome else {
            continue;
        };
        let authority = headers
            .get("host")
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let wanted = virtual_host(&hosts, authority, ignore_port);
        assert_eq!(found.host, wanted, "the virtual host of {authority}");
        let route = wanted.and_then(|host| {
            let mut routes = hosts[host].routes.iter();
            routes.position(|route| route.takes(method.as_str(), &target, &headers))
        });
        let position = found.route.map(|(position, _)| position);
        assert_eq!(
            position, route,
            "the route of {method} {authority} {target} {headers:?}"
        );
        let passed: Vec<usize> = found
            .passed_over
            .iter()
            .map(|(position, _)| *position)
            .collect();
        let before = wanted.map_or(0, |host| route.unwrap_or(hosts[host].routes.len()));
        assert_eq!(passed, (0..before).collect::<Vec<_>>());
    }
});

impl<'a> Route<'a> {
    fn read(words: &Words<'a>) -> Option<Self> {
        let mut pairs = words.pairs();
        let (kind, path) = pairs.next().filter(|(kind, _)| "pesg".contains(*kind))?;
        let conditions = pairs.map(|(key, value)| {
            let pair = value.split_once('=');
            let name = |name: &str| http::HeaderName::from_bytes(name.as_bytes()).is_ok();
            Some(match key {
                'i' => Condition::IgnoreCase,
                'g' => Condition::Grpc,
                'm' => Condition::Method(value),
                '+' => pair
                    .filter(|(n, _)| name(n))
                    .map(|(name, value)| Condition::Header(name, value))?,
                '^' => pair
                    .filter(|(n, value)| name(n) && !value.is_empty())
                    .map(|(name, value)| Condition::HeaderBegins(name, value))?,
                '!' if name(value) => Condition::NoHeader(value),
                '?' => match pair {
                    Some((name, value)) => Condition::Query(name, Some(value)),
                    None => Condition::Query(value, None),
                },
                _ => return None,
            })
        });
        Some(Self {
            kind,
            path,
            conditions: conditions.collect::<Option<_>>()?,
        })
    }

    fn takes(&self, method: &str, target: &str, headers: &http::HeaderMap) -> bool {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let fold = |text: &str| match self.kind != 'g'
            && self.conditions.contains(&Condition::IgnoreCase)
        {
            true => text.to_ascii_lowercase(),
            false => text.to_owned(),
        };
        let (path, wanted) = (fold(path), fold(self.path));
        let path_fits = match self.kind {
            'p' => path.starts_with(&wanted),
            'e' => path == wanted,
            's' => {
                let wanted = wanted.trim_end_matches('/');
                path == wanted || path.starts_with(&format!("{wanted}/"))
            }
            _ => glob(&wanted.split('*').collect::<Vec<_>>(), &path),
        };
        path_fits
            && self.conditions.iter().all(|condition| match condition {
                Condition::IgnoreCase => true,
                Condition::Method(wanted) => *wanted == method,
                Condition::Grpc => {
                    let kind = headers
                        .get("content-type")
                        .map_or(&b""[..], |value| value.as_bytes());
                    kind == b"application/grpc" || kind.starts_with(b"application/grpc+")
                }
                Condition::Header(name, wanted) => headers
                    .get_all(*name)
                    .iter()
                    .any(|value| value.as_bytes() == wanted.as_bytes()),
                Condition::HeaderBegins(name, wanted) => {
                    let mut values = headers.get_all(*name).iter();
                    values.any(|value| value.as_bytes().starts_with(wanted.as_bytes()))
                }
                Condition::NoHeader(name) => !headers.contains_key(*name),
                Condition::Query(name, wanted) => {
                    let mut pairs = query
                        .split('&')
                        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                    let value = pairs.find(|(key, _)| key == name);
                    value.is_some_and(|(_, value)| wanted.is_none_or(|wanted| wanted == value))
                }
            })
    }

    fn message(&self) -> pb::route::Route {
        let regex = |regex: String| RegexMatcher {
            regex,
            ..RegexMatcher::default()
        };
        let path = match self.kind {
            'p' => PathSpecifier::Prefix(self.path.into()),
            'e' => PathSpecifier::Path(self.path.into()),
            's' => PathSpecifier::PathSeparatedPrefix(self.path.into()),
            _ => PathSpecifier::SafeRegex(regex(
                self.path
                    .split('*')
                    .map(literal)
                    .collect::<Vec<_>>()
                    .join("[!-~]*"),
            )),
        };
        let mut message = RouteMatch {
            path_specifier: Some(path),
            ..RouteMatch::default()
        };
        for condition in &self.conditions {
            match condition {
                Condition::IgnoreCase => message.case_sensitive = Some(Default::default()),
                Condition::Grpc => message.grpc = Some(GrpcRouteMatchOptions::default()),
                Condition::Method(method) => message.headers.push(header(":method", exact(method))),
                Condition::Header(name, value) => message.headers.push(header(name, exact(value))),
                Condition::HeaderBegins(name, value) => {
                    let begins = pattern(MatchPattern::Prefix((*value).into()));
                    message
                        .headers
                        .push(header(name, HeaderMatchSpecifier::StringMatch(begins)));
                }
                Condition::NoHeader(name) => {
                    message
                        .headers
                        .push(header(name, HeaderMatchSpecifier::PresentMatch(false)));
                }
                Condition::Query(name, value) => {
                    message.query_parameters.push(QueryParameterMatcher {
                        name: (*name).into(),
                        query_parameter_match_specifier: value.map(|value| {
                            let exact = pattern(MatchPattern::Exact(value.into()));
                            QueryParameterMatchSpecifier::StringMatch(exact)
                        }),
                    })
                }
            }
        }
        pb::route::Route {
            r#match: Some(message),
            action: Some(pb::route::route::Action::NonForwardingAction(
                Default::default(),
            )),
            ..pb::route::Route::default()
        }
    }
}

/// A pattern's pieces between its stars, each of which stands for visible characters of ASCII.
fn glob(pieces: &[&str], text: &str) -> bool {
    // Where a piece may begin.
    let mut starts = BTreeSet::from([0]);
    let mut ends = BTreeSet::new();
    for piece in pieces {
        let here = starts.iter().filter(|at| text[**at..].starts_with(piece));
        ends = here.map(|at| at + piece.len()).collect();
        starts = BTreeSet::new();
        for end in &ends {
            let after = text[*end..].bytes();
            let visible = after.take_while(u8::is_ascii_graphic).count();
            starts.extend(*end..=end + visible);
        }
    }
    ends.contains(&text.len())
}

/// An expression that is this text.
fn literal(text: &str) -> String {
    let escaped = text.chars().flat_map(|letter| {
        let special = letter.is_ascii_punctuation();
        special.then_some('\\').into_iter().chain([letter])
    });
    escaped.collect()
}

fn exact(value: &str) -> HeaderMatchSpecifier {
    HeaderMatchSpecifier::StringMatch(pattern(MatchPattern::Exact(value.into())))
}

fn pattern(pattern: MatchPattern) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(pattern),
        ..StringMatcher::default()
    }
}

fn header(name: &str, specifier: HeaderMatchSpecifier) -> HeaderMatcher {
    HeaderMatcher {
        name: name.into(),
        header_match_specifier: Some(specifier),
        ..HeaderMatcher::default()
    }
}

/// The request, and its path and query.
fn request(words: &Words<'_>) -> Option<(http::request::Parts, String)> {
    let mut words = words.all();
    let (method, authority, target) = (words.next()?, words.next()?, words.next()?);
    if method == "CONNECT" || !target.starts_with('/') {
        return None;
    }
    let mut builder = Request::builder()
        .method(method)
        .uri(target)
        .header("host", authority);
    for word in words {
        let (name, value) = word.split_once('=')?;
        // What the connection manager itself reads or writes is not for routes to be tried on.
        let own = [
            "host",
            "connection",
            "upgrade",
            "te",
            "expect",
            "transfer-encoding",
            "content-length",
            "keep-alive",
        ];
        let name = name.to_ascii_lowercase();
        if own.contains(&&*name) || name.starts_with("x-") || name.starts_with("proxy-") {
            continue;
        }
        builder = builder.header(name, value);
    }
    let (parts, ()) = builder.body(()).ok()?.into_parts();
    let target = parts.uri.path_and_query()?.as_str().to_owned();
    Some((parts, target))
}

/// Of those that hold it, the most specific: exact names, then what ends as the domain does, then
/// what begins so, the longest first, and last the domain that holds all.
fn virtual_host(hosts: &[Host<'_>], authority: &str, ignore_port: bool) -> Option<usize> {
    let mut name = authority.to_ascii_lowercase();
    if ignore_port {
        let digits = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let host = digits
            .strip_suffix(':')
            .filter(|_| digits.len() < name.len());
        if let Some(host) = host.filter(|host| !host.contains(':') || host.ends_with(']')) {
            name = host.to_owned();
        }
    }
    let rank = |domain: &str| {
        let domain = domain.to_ascii_lowercase();
        let rank = if domain == "*" {
            (1, 0)
        } else if let Some(end) = domain.strip_prefix('*') {
            (name.ends_with(end) && name != end).then_some((3, end.len()))?
        } else if let Some(begin) = domain.strip_suffix('*') {
            (name.starts_with(begin) && name != begin).then_some((2, begin.len()))?
        } else {
            (name == domain).then_some((4, 0))?
        };
        Some(rank)
    };
    let ranked = hosts.iter().enumerate().flat_map(|(index, host)| {
        let ranks = host.domains.iter().filter_map(|domain| rank(domain));
        ranks.map(move |rank| (rank, index))
    });
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, index)| index)
}

fn listener(ignore_port: bool, hosts: &[Host<'_>]) -> pb::listener::Listener {
    use pb::hcm::http_connection_manager::RouteSpecifier;
    let hosts = hosts.iter().map(|host| VirtualHost {
        name: "host".into(),
        domains: host
            .domains
            .iter()
            .map(|domain| (*domain).to_owned())
            .collect(),
        routes: host.routes.iter().map(Route::message).collect(),
        ..VirtualHost::default()
    });
    let router = pb::hcm::HttpFilter {
        name: "router".into(),
        config_type: Some(pb::hcm::http_filter::ConfigType::TypedConfig(any(
            &pb::filters::http::router::v3::Router::default(),
        ))),
        ..pb::hcm::HttpFilter::default()
    };
    let manager = pb::hcm::HttpConnectionManager {
        stat_prefix: "fuzz".into(),
        route_specifier: Some(RouteSpecifier::RouteConfig(RouteConfiguration {
            virtual_hosts: hosts.collect(),
            ignore_port_in_host_matching: ignore_port,
            ..RouteConfiguration::default()
        })),
        http_filters: vec![router],
        ..pb::hcm::HttpConnectionManager::default()
    };
    pb::listener::Listener {
        name: "fuzz".into(),
        address: Some(address(80)),
        filter_chains: vec![pb::listener::FilterChain {
            filters: vec![filter(&manager)],
            ..Default::default()
        }],
        ..pb::listener::Listener::default()
    }
}
