//! Evaluating compiled matchers against a request's head.

use super::head::Head;
use crate::model::{HeaderMatch, HeaderTest, MatchName, PathMatch, QueryMatch};
use http::{HeaderMap, HeaderValue};

/// Tests each value of a header by itself: one of several lines matches as if it came alone,
/// and an inverted matcher wants none that does (CVE-2026-26308). With a value that is not
/// text nothing matches, inverted or not (CVE-2026-73552).
pub(crate) fn test<'a>(matcher: &HeaderMatch, mut values: impl Iterator<Item = &'a [u8]>) -> bool {
    if let HeaderTest::Present(wanted) = matcher.test {
        let present = values.next().is_some() || matcher.treat_missing_as_empty;
        return (present == wanted) != matcher.invert;
    }
    let matches = |value: &str| match &matcher.test {
        HeaderTest::Value(pattern) => pattern.matches(value),
        HeaderTest::Range(start, end) => value
            .parse::<i64>()
            .is_ok_and(|number| (*start..*end).contains(&number)),
        HeaderTest::Present(_) => true,
    };
    let Some(first) = values.next() else {
        return matcher.treat_missing_as_empty && matches("") != matcher.invert;
    };
    let mut matched = false;
    for value in std::iter::once(first).chain(values) {
        match std::str::from_utf8(value) {
            Ok(value) => matched |= matches(value),
            Err(_) => return false,
        }
    }
    matched != matcher.invert
}

/// A header's value that is not text.
#[derive(Debug)]
pub(crate) struct Unreadable;

/// As [`header`], for policies: what cannot be read must not count as a mismatch, because a
/// denying rule would then let it pass.
pub(crate) fn strict_header(matcher: &HeaderMatch, head: &Head) -> Result<bool, Unreadable> {
    if let (MatchName::Header(name), false) = (
        &matcher.name,
        matches!(matcher.test, HeaderTest::Present(_)),
    ) && !head
        .headers
        .get_all(name)
        .iter()
        .all(|value| std::str::from_utf8(value.as_bytes()).is_ok())
    {
        return Err(Unreadable);
    }
    Ok(header(matcher, head))
}

pub(crate) fn header(matcher: &HeaderMatch, head: &Head) -> bool {
    let pseudo = |text: &str| test(matcher, std::iter::once(text.as_bytes()));
    match &matcher.name {
        MatchName::Method => pseudo(head.method.as_str()),
        MatchName::Authority => pseudo(head.authority_str()),
        MatchName::Scheme => pseudo(head.scheme),
        MatchName::Path => pseudo(head.path.as_str()),
        MatchName::Header(name) => test(matcher, values(&head.headers, name)),
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

/// A matcher on response headers: pseudo headers are absent there.
pub(crate) fn response_header(matcher: &HeaderMatch, headers: &HeaderMap) -> bool {
    match &matcher.name {
        MatchName::Header(name) => test(matcher, values(headers, name)),
        _ => test(matcher, std::iter::empty()),
    }
}

pub(crate) fn query(matcher: &QueryMatch, query: &str) -> bool {
    let value = query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == &*matcher.name).then_some(value)
    });
    match (value, &matcher.value) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(value), Some(pattern)) => pattern.matches(value),
    }
}

/// Whether the path (without its query) matches.
pub(crate) fn path(pattern: &PathMatch, case_sensitive: bool, head: &Head) -> bool {
    let path = head.path.path();
    let equal = |a: &[u8], b: &[u8]| match case_sensitive {
        true => a == b,
        false => a.eq_ignore_ascii_case(b),
    };
    let starts = |prefix: &str| {
        path.as_bytes()
            .get(..prefix.len())
            .is_some_and(|start| equal(start, prefix.as_bytes()))
    };
    match pattern {
        PathMatch::Connect => head.method == http::Method::CONNECT,
        _ if head.method == http::Method::CONNECT => false,
        PathMatch::Exact(exact) => equal(path.as_bytes(), exact.as_bytes()),
        PathMatch::Prefix(prefix) => starts(prefix),
        PathMatch::SeparatedPrefix(prefix) => {
            starts(prefix) && (path.len() == prefix.len() || path.as_bytes()[prefix.len()] == b'/')
        }
        PathMatch::Regex(regex) => regex.is_match(path),
    }
}

/// True for `numerator` of `denominator` calls.
pub(crate) fn chance((numerator, denominator): (u32, u32)) -> bool {
    numerator >= denominator || fastrand::u32(..denominator.max(1)) < numerator
}
