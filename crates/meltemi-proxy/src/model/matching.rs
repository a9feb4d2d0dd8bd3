//! Small matchers and header operations shared by routes, faults and policies.

use http::{HeaderName, HeaderValue};
use meltemi_re2::Regex;

/// Envoy's `StringMatcher`. `ignore_case` holds for all but the expression.
#[derive(Clone, Debug)]
pub enum StringMatch {
    Exact(Box<str>, bool),
    Prefix(Box<str>, bool),
    Suffix(Box<str>, bool),
    Contains(Box<str>, bool),
    /// Anchored: matches the whole value, as Envoy's RE2 `FullMatch`.
    Regex(Regex),
}

impl StringMatch {
    /// Where case does not count, the configured text is in lower case.
    pub fn matches(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        match self {
            Self::Exact(wanted, false) => text == &**wanted,
            Self::Exact(wanted, true) => text.eq_ignore_ascii_case(wanted),
            Self::Prefix(wanted, false) => text.starts_with(&**wanted),
            Self::Prefix(wanted, true) => bytes
                .get(..wanted.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(wanted.as_bytes())),
            Self::Suffix(wanted, false) => text.ends_with(&**wanted),
            Self::Suffix(wanted, true) => bytes
                .len()
                .checked_sub(wanted.len())
                .is_some_and(|start| bytes[start..].eq_ignore_ascii_case(wanted.as_bytes())),
            Self::Contains(wanted, false) => text.contains(&**wanted),
            Self::Contains(wanted, true) => text.to_ascii_lowercase().contains(&**wanted),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

#[derive(Clone, Debug)]
pub enum PathMatch {
    Exact(Box<str>),
    Prefix(Box<str>),
    /// `path_separated_prefix`, without a trailing slash.
    SeparatedPrefix(Box<str>),
    /// The whole path without the query.
    Regex(Regex),
    /// `connect_matcher`: CONNECT, which has no path.
    Connect,
}

#[derive(Clone, Debug)]
pub struct HeaderMatch {
    pub name: MatchName,
    pub test: HeaderTest,
    pub invert: bool,
    pub treat_missing_as_empty: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchName {
    Method,
    Authority,
    Scheme,
    Path,
    Header(HeaderName),
}

#[derive(Clone, Debug)]
pub enum HeaderTest {
    /// `present_match`.
    Present(bool),
    Value(StringMatch),
    /// Half-open `[start, end)`.
    Range(i64, i64),
}

#[derive(Clone, Debug)]
pub struct QueryMatch {
    pub name: Box<str>,
    /// `None`: present, whatever its value.
    pub value: Option<StringMatch>,
}

/// `request_headers_to_add`/`_to_remove` of one level. Removal comes first.
#[derive(Clone, Debug, Default)]
pub struct HeaderOps {
    pub remove: Box<[HeaderName]>,
    pub add: Box<[HeaderAdd]>,
}

impl HeaderOps {
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}

#[derive(Clone, Debug)]
pub struct HeaderAdd {
    pub name: AddName,
    pub value: HeaderText,
    pub action: AddAction,
    pub keep_empty: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddName {
    Authority,
    Header(HeaderName),
}

/// A header value: constant, or with Envoy's `%OPERATOR%`s.
#[derive(Clone, Debug)]
pub enum HeaderText {
    Literal(HeaderValue),
    Format(std::sync::Arc<super::LogFormat>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddAction {
    AppendIfExistsOrAdd,
    AddIfAbsent,
    OverwriteIfExistsOrAdd,
    OverwriteIfExists,
}
