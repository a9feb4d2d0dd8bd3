//! Why a route does not take a request, in words.

use meltemi_proxy::http::Mismatch;
use meltemi_proxy::model::{
    HeaderMatch, HeaderTest, MatchName, PathMatch, QueryMatch, StringMatch,
};

/// What the request would have to have.
pub(crate) fn mismatch(mismatch: &Mismatch<'_>) -> String {
    match mismatch {
        Mismatch::Path(PathMatch::Connect) => "it takes CONNECT only".to_owned(),
        Mismatch::Path(PathMatch::Exact(path)) => format!("the path is not {path}"),
        Mismatch::Path(PathMatch::Prefix(prefix)) => {
            format!("the path does not begin with {prefix}")
        }
        Mismatch::Path(PathMatch::SeparatedPrefix(prefix)) => {
            format!("the path is neither {prefix} nor below it")
        }
        Mismatch::Path(PathMatch::Regex(regex)) => {
            format!("the path does not match {}", expression(regex.as_str()))
        }
        Mismatch::Header(matcher) => header(matcher),
        Mismatch::Query(QueryMatch { name, value }) => match value {
            None => format!("there is no query parameter {name}"),
            Some(value) => format!("query parameter {name} {}", is_not(value)),
        },
        Mismatch::Grpc => "it is no gRPC request".to_owned(),
        Mismatch::ClientCertificate => "the client's certificate decides otherwise".to_owned(),
        Mismatch::Fraction => "it takes only a share of the requests".to_owned(),
    }
}

fn header(matcher: &HeaderMatch) -> String {
    let subject = match &matcher.name {
        MatchName::Method => "the method".to_owned(),
        MatchName::Authority => "the authority".to_owned(),
        MatchName::Scheme => "the scheme".to_owned(),
        MatchName::Path => "the path with its query".to_owned(),
        MatchName::Header(name) => format!("header {name}"),
    };
    match (&matcher.test, matcher.invert) {
        (HeaderTest::Present(wanted), invert) if *wanted != invert => {
            format!("{subject} is missing")
        }
        (HeaderTest::Present(_), _) => format!("{subject} is there"),
        (HeaderTest::Value(value), false) => format!("{subject} {}", is_not(value)),
        (HeaderTest::Value(value), true) => format!("{subject} {}, or is missing", is(value)),
        (HeaderTest::Range(start, end), _) => format!("{subject} is not from {start} to {end}"),
    }
}

fn is_not(value: &StringMatch) -> String {
    match value {
        StringMatch::Exact(text, _) => format!("is not {text}"),
        StringMatch::Prefix(text, _) => format!("does not begin with {text}"),
        StringMatch::Suffix(text, _) => format!("does not end with {text}"),
        StringMatch::Contains(text, _) => format!("does not contain {text}"),
        StringMatch::Regex(regex) => format!("does not match {}", expression(regex.as_str())),
    }
}

fn is(value: &StringMatch) -> String {
    match value {
        StringMatch::Exact(text, _) => format!("is {text}"),
        StringMatch::Prefix(text, _) => format!("begins with {text}"),
        StringMatch::Suffix(text, _) => format!("ends with {text}"),
        StringMatch::Contains(text, _) => format!("contains {text}"),
        StringMatch::Regex(regex) => format!("matches {}", expression(regex.as_str())),
    }
}

/// An expression as it was configured: the proxy anchors it.
fn expression(compiled: &str) -> &str {
    compiled
        .strip_prefix(r"\A(?:")
        .and_then(|inner| inner.strip_suffix(r")\z"))
        .unwrap_or(compiled)
}
