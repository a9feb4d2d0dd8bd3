//! String, header and query matchers, and regular expressions.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::pb::{matcher, route, types};
use super::{At, Error, Result};
use crate::model::{HeaderMatch, HeaderTest, MatchName, QueryMatch, StringMatch};
use http::HeaderName;
use meltemi_re2::Regex;

/// An expression that must match the whole value, as RE2's `FullMatch`.
pub fn full_regex(value: matcher::RegexMatcher) -> Result<Regex> {
    let matcher::RegexMatcher {
        regex,
        engine_type: _,
    } = value;
    built(meltemi_re2::full(&regex))
}

fn built(regex: std::result::Result<Regex, meltemi_re2::Error>) -> Result<Regex> {
    regex
        .map_err(|error| Error::new(format!("not a valid regular expression: {error}")))
        .at("regex")
}

/// A pattern and its replacement, the latter in the `regex` crate's syntax (`${1}`).
pub fn substitution(value: matcher::RegexMatchAndSubstitute) -> Result<(Regex, Box<str>)> {
    let matcher::RegexMatchAndSubstitute {
        pattern,
        substitution,
    } = value;
    let matcher::RegexMatcher {
        regex,
        engine_type: _,
    } = pattern.ok_or_else(|| Error::missing("pattern"))?;
    let regex = built(meltemi_re2::partial(&regex)).at("pattern")?;
    let replacement = replacement(&substitution, regex.captures_len()).at("substitution")?;
    Ok((regex, replacement))
}

/// RE2's `\1` and `\\` in the `regex` crate's syntax.
fn replacement(text: &str, groups: usize) -> Result<Box<str>> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(character) = chars.next() {
        match character {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some('\\') => out.push('\\'),
                Some(digit) if digit.is_ascii_digit() => {
                    if digit as usize - '0' as usize >= groups {
                        return Err(Error::new(format!("names group {digit}, which is missing")));
                    }
                    out.push_str("${");
                    out.push(digit);
                    out.push('}');
                }
                _ => {
                    return Err(Error::new(
                        "holds a backslash before neither a digit nor `\\`",
                    ));
                }
            },
            other => out.push(other),
        }
    }
    Ok(out.into())
}

pub fn string(value: matcher::StringMatcher) -> Result<StringMatch> {
    use matcher::string_matcher::MatchPattern;
    let matcher::StringMatcher {
        ignore_case,
        match_pattern,
    } = value;
    let fold = |text: String| -> Box<str> {
        if ignore_case {
            text.to_lowercase().into()
        } else {
            text.into()
        }
    };
    Ok(
        match match_pattern.ok_or_else(|| Error::missing("match_pattern"))? {
            MatchPattern::Exact(text) => StringMatch::Exact(fold(text), ignore_case),
            MatchPattern::Prefix(text) => StringMatch::Prefix(fold(text), ignore_case),
            MatchPattern::Suffix(text) => StringMatch::Suffix(fold(text), ignore_case),
            MatchPattern::Contains(text) => StringMatch::Contains(fold(text), ignore_case),
            MatchPattern::SafeRegex(regex) => {
                StringMatch::Regex(full_regex(regex).at("safe_regex")?)
            }
            MatchPattern::Custom(_) => return Err(Error::unsupported("custom")),
        },
    )
}

/// A header's name in lower case.
pub fn header_name(name: &str) -> Result<HeaderName> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Error::new(format!("{name:?} is not a header name")))
}

/// A header's name or one of HTTP's pseudo headers.
pub fn match_name(name: &str) -> Result<MatchName> {
    Ok(match name.to_ascii_lowercase().as_str() {
        ":method" => MatchName::Method,
        ":authority" | "host" => MatchName::Authority,
        ":scheme" => MatchName::Scheme,
        ":path" => MatchName::Path,
        name => MatchName::Header(header_name(name)?),
    })
}

pub fn headers(values: Vec<route::HeaderMatcher>, field: &str) -> Result<Box<[HeaderMatch]>> {
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| header(value).nth(field, index))
        .collect()
}

pub fn header(value: route::HeaderMatcher) -> Result<HeaderMatch> {
    use route::header_matcher::HeaderMatchSpecifier as Specifier;
    let route::HeaderMatcher {
        name,
        invert_match,
        treat_missing_header_as_empty,
        header_match_specifier,
    } = value;
    let test = match header_match_specifier {
        None => HeaderTest::Present(true),
        Some(Specifier::ExactMatch(text)) => {
            HeaderTest::Value(StringMatch::Exact(text.into(), false))
        }
        Some(Specifier::SafeRegexMatch(regex)) => HeaderTest::Value(StringMatch::Regex(
            full_regex(regex).at("safe_regex_match")?,
        )),
        Some(Specifier::RangeMatch(types::Int64Range { start, end })) => {
            HeaderTest::Range(start, end)
        }
        Some(Specifier::PresentMatch(present)) => HeaderTest::Present(present),
        Some(Specifier::PrefixMatch(text)) => {
            HeaderTest::Value(StringMatch::Prefix(text.into(), false))
        }
        Some(Specifier::SuffixMatch(text)) => {
            HeaderTest::Value(StringMatch::Suffix(text.into(), false))
        }
        Some(Specifier::ContainsMatch(text)) => {
            HeaderTest::Value(StringMatch::Contains(text.into(), false))
        }
        Some(Specifier::StringMatch(value)) => HeaderTest::Value(string(value).at("string_match")?),
    };
    Ok(HeaderMatch {
        name: match_name(&name).at("name")?,
        test,
        invert: invert_match,
        treat_missing_as_empty: treat_missing_header_as_empty,
    })
}

pub fn queries(values: Vec<route::QueryParameterMatcher>) -> Result<Box<[QueryMatch]>> {
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| query(value).nth("query_parameters", index))
        .collect()
}

fn query(value: route::QueryParameterMatcher) -> Result<QueryMatch> {
    use route::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let route::QueryParameterMatcher {
        name,
        query_parameter_match_specifier,
    } = value;
    let value = match query_parameter_match_specifier {
        None | Some(Specifier::PresentMatch(true)) => None,
        Some(Specifier::PresentMatch(false)) => {
            return Err(Error::new("false is not supported").at_field("present_match"));
        }
        Some(Specifier::StringMatch(value)) => Some(string(value).at("string_match")?),
    };
    Ok(QueryMatch {
        name: name.into(),
        value,
    })
}
