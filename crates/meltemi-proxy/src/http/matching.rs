//! Evaluating compiled matchers against a request's head.

use super::head::Head;
use crate::model::{HeaderMatch, HeaderTest, MatchName, PathMatch, QueryMatch, StringMatch};
use http::HeaderMap;
use std::borrow::Cow;

/// Configured text is lower case where `ignore_case` holds.
pub(crate) fn string(pattern: &StringMatch, text: &str) -> bool {
    let (a, b) = (text.as_bytes(), |pattern: &str| pattern.len());
    match pattern {
        StringMatch::Exact(pattern, false) => text == &**pattern,
        StringMatch::Exact(pattern, true) => a.eq_ignore_ascii_case(pattern.as_bytes()),
        StringMatch::Prefix(pattern, false) => text.starts_with(&**pattern),
        StringMatch::Prefix(pattern, true) => a
            .get(..b(pattern))
            .is_some_and(|start| start.eq_ignore_ascii_case(pattern.as_bytes())),
        StringMatch::Suffix(pattern, false) => text.ends_with(&**pattern),
        StringMatch::Suffix(pattern, true) => a
            .len()
            .checked_sub(b(pattern))
            .is_some_and(|start| a[start..].eq_ignore_ascii_case(pattern.as_bytes())),
        StringMatch::Contains(pattern, false) => text.contains(&**pattern),
        StringMatch::Contains(pattern, true) => text.to_ascii_lowercase().contains(&**pattern),
        StringMatch::Regex(regex) => regex.is_match(text),
    }
}

/// All values of a header, joined as Envoy joins them; `Err` when one is not text.
fn joined<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<Result<Cow<'a, str>, ()>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let Ok(first) = std::str::from_utf8(first.as_bytes()) else {
        return Some(Err(()));
    };
    let mut all = Cow::Borrowed(first);
    for value in values {
        let Ok(text) = std::str::from_utf8(value.as_bytes()) else {
            return Some(Err(()));
        };
        let owned = all.to_mut();
        owned.push(',');
        owned.push_str(text);
    }
    Some(Ok(all))
}

fn test(matcher: &HeaderMatch, value: Option<Result<Cow<'_, str>, ()>>) -> bool {
    if let HeaderTest::Present(wanted) = matcher.test {
        let present = value.is_some() || matcher.treat_missing_as_empty;
        return (present == wanted) != matcher.invert;
    }
    let value = match value {
        Some(Ok(value)) => value,
        // What cannot be read matches nothing, inverted or not (CVE-2026-73552).
        Some(Err(())) => return false,
        None if matcher.treat_missing_as_empty => Cow::Borrowed(""),
        None => return false,
    };
    let matched = match &matcher.test {
        HeaderTest::Value(pattern) => string(pattern, &value),
        HeaderTest::Range(start, end) => value
            .parse::<i64>()
            .is_ok_and(|number| (*start..*end).contains(&number)),
        HeaderTest::Present(_) => true,
    };
    matched != matcher.invert
}

/// A header's value that is not text.
#[derive(Debug)]
pub(crate) struct Unreadable;

/// As [`header`], for policies: what cannot be read must not count as a mismatch, because a
/// denying rule would then let it pass.
pub(crate) fn strict_header(matcher: &HeaderMatch, head: &Head) -> Result<bool, Unreadable> {
    let value = value_of(matcher, head);
    match (&matcher.test, &value) {
        (HeaderTest::Present(_), _) => {}
        (_, Some(Err(()))) => return Err(Unreadable),
        _ => {}
    }
    Ok(test(matcher, value))
}

pub(crate) fn header(matcher: &HeaderMatch, head: &Head) -> bool {
    test(matcher, value_of(matcher, head))
}

fn value_of<'a>(matcher: &HeaderMatch, head: &'a Head) -> Option<Result<Cow<'a, str>, ()>> {
    let pseudo = |text| Some(Ok(Cow::Borrowed(text)));
    match &matcher.name {
        MatchName::Method => pseudo(head.method.as_str()),
        MatchName::Authority => pseudo(head.authority_str()),
        MatchName::Scheme => pseudo(head.scheme),
        MatchName::Path => pseudo(head.path.as_str()),
        MatchName::Header(name) => joined(&head.headers, name),
    }
}

/// A matcher on response headers: pseudo headers are absent there.
pub(crate) fn response_header(matcher: &HeaderMatch, headers: &HeaderMap) -> bool {
    let value = match &matcher.name {
        MatchName::Header(name) => joined(headers, name),
        _ => None,
    };
    test(matcher, value)
}

pub(crate) fn query(matcher: &QueryMatch, query: &str) -> bool {
    let value = query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == &*matcher.name).then_some(value)
    });
    match (value, &matcher.value) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(value), Some(pattern)) => string(pattern, value),
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
