//! One canonical path for routing, policy and forwarding (CVE-2021-31920, -29492).

use super::names;
use super::reply::Reply;
use crate::model::{EscapedSlashes, PathNormalization};
use crate::telemetry::Flags;
use http::StatusCode;
use http::uri::PathAndQuery;

/// Brings the path into its canonical form, or refuses it.
pub(crate) fn normalize(options: PathNormalization, path: &mut PathAndQuery) -> Result<(), Reply> {
    let text = path.path();
    // The common path needs nothing: one look, no copy.
    if !needs_work(text) || text == "*" {
        return Ok(());
    }
    let mut work = text.as_bytes().to_vec();
    let mut redirect = false;
    if has_escaped_slash(&work) {
        match options.escaped_slashes {
            EscapedSlashes::Keep => {}
            EscapedSlashes::Reject => {
                return Err(Reply::rejected("path_normalization_failed"));
            }
            EscapedSlashes::UnescapeAndRedirect => {
                unescape_slashes(&mut work);
                redirect = true;
            }
            EscapedSlashes::UnescapeAndForward => unescape_slashes(&mut work),
        }
    }
    if options.normalize {
        if memchr::memmem::find(&work, b"%00").is_some() {
            return Err(Reply::rejected("path_normalization_failed"));
        }
        work = remove_dot_segments(&unescape_unreserved(&work));
    }
    if options.merge_slashes {
        work.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
    }
    if !redirect && work == text.as_bytes() {
        return Ok(());
    }
    if let Some(query) = path.query() {
        work.push(b'?');
        work.extend_from_slice(query.as_bytes());
    }
    let canonical = PathAndQuery::from_maybe_shared(bytes::Bytes::from(work))
        .map_err(|_| Reply::bad_request("path_normalization_failed"))?;
    if redirect {
        let location = http::HeaderValue::from_str(canonical.as_str())
            .map_err(|_| Reply::bad_request("path_normalization_failed"))?;
        *path = canonical;
        return Err(Reply::new(
            StatusCode::TEMPORARY_REDIRECT,
            "",
            Flags::default(),
            "path_normalization_failed",
        )
        .with(&http::header::LOCATION, location));
    }
    *path = canonical;
    Ok(())
}

/// Remembers the path as it was, once.
pub(crate) fn keep_original(headers: &mut http::HeaderMap, path: &PathAndQuery) {
    if let Ok(value) = http::HeaderValue::from_str(path.as_str()) {
        headers.insert(names::X_ENVOY_ORIGINAL_PATH.clone(), value);
    }
}

fn needs_work(path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut previous = 0;
    for &byte in bytes {
        match byte {
            b'%' | b'\\' => return true,
            b'/' | b'.' if previous == b'/' => return true,
            _ => {}
        }
        previous = byte;
    }
    false
}

fn escape(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| (byte as char).to_digit(16);
    Some((digit(*high)? * 16 + digit(*low)?) as u8)
}

fn has_escaped_slash(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path).any(|at| matches!(escape(&path[at..]), Some(b'/' | b'\\')))
}

fn rewrite(path: &[u8], decode: impl Fn(u8) -> Option<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        let Some(octet) = escape(rest) else {
            push(&mut out, byte);
            rest = tail;
            continue;
        };
        match decode(octet) {
            Some(decoded) => push(&mut out, decoded),
            None => out.extend_from_slice(&rest[..3]),
        }
        rest = &rest[3..];
    }
    out
}

/// Appends a byte that is no part of an escape. A `%` that began none must not begin one now that
/// what follows it is written otherwise: of `%%32e` comes `%252e`, not a dot for the next reader.
fn push(out: &mut Vec<u8>, byte: u8) {
    out.push(byte);
    if let Some(at) = out.len().checked_sub(3)
        && escape(&out[at..]).is_some()
    {
        out.splice(at + 1..at + 1, *b"25");
    }
}

fn unescape_slashes(path: &mut Vec<u8>) {
    *path = rewrite(path, |byte| matches!(byte, b'/' | b'\\').then_some(b'/'));
}

/// RFC 3986 6.2.2.2; a backslash is a slash, as browsers and Envoy take it.
fn unescape_unreserved(path: &[u8]) -> Vec<u8> {
    let mut out = rewrite(path, |byte| {
        (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')).then_some(byte)
    });
    for byte in &mut out {
        if *byte == b'\\' {
            *byte = b'/';
        }
    }
    out
}

/// RFC 3986 5.2.4. Parameters do not change what dots mean, as some servers take them
/// (`/..;x/`).
fn remove_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path
        .strip_prefix(b"/")
        .unwrap_or(path)
        .split(|byte| *byte == b'/')
        .peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let parameters = memchr::memchr(b';', segment).unwrap_or(segment.len());
        match &segment[..parameters] {
            b"." => {
                if last {
                    out.push(b'/');
                }
            }
            b".." => {
                let end = memchr::memrchr(b'/', &out).unwrap_or(0);
                out.truncate(end);
                if last {
                    out.push(b'/');
                }
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod unit {
    use super::*;

    fn canonical(path: &str, escaped_slashes: EscapedSlashes) -> Result<String, u16> {
        let options = PathNormalization {
            normalize: true,
            merge_slashes: true,
            escaped_slashes,
        };
        let mut path: PathAndQuery = path.parse().unwrap();
        normalize(options, &mut path)
            .map(|()| path.to_string())
            .map_err(|reply| reply.status.as_u16())
    }

    #[test]
    fn every_spelling_of_a_path_becomes_one() {
        for spelling in [
            "/admin/x",
            "//admin/x",
            "/./admin/x",
            "/a/../admin/x",
            "/%61dmin/x",
            "/admin//x",
            "/admin\\x",
            "/../admin/x",
            "/admin/%2e/x",
            "/b/%2E%2e/admin/x",
            "/admin/./x",
            "/b/..;y/admin/x",
            "/admin/.;y=z/x",
            "/b/%2e.;y/admin/x",
            "/b/..;/b/..;/admin/x",
        ] {
            assert_eq!(
                canonical(spelling, EscapedSlashes::Keep).as_deref(),
                Ok("/admin/x"),
                "{spelling}"
            );
        }
    }

    #[test]
    fn queries_and_trailing_slashes_stay() {
        let keep = |path| canonical(path, EscapedSlashes::Keep).unwrap();
        assert_eq!(keep("/a/b/?x=//../y"), "/a/b/?x=//../y");
        assert_eq!(keep("/a/.."), "/");
        assert_eq!(keep("/a/b/."), "/a/b/");
        assert_eq!(keep("/a%20b"), "/a%20b");
        assert_eq!(keep("/.hidden/...x"), "/.hidden/...x");
        assert_eq!(keep("/a;x/...;y/;/b"), "/a;x/...;y/;/b");
    }

    #[test]
    fn undoing_an_escape_makes_no_other() {
        for (spelling, expected) in [
            ("/%%32%65%%32%65/admin", "/%252e%252e/admin"),
            ("/a/%%32e%2%65/b", "/a/%252e%252e/b"),
            ("/%%30%30", "/%2500"),
            ("/a%%32%46b", "/a%252Fb"),
            ("/%2520%41%%20", "/%2520A%%20"),
        ] {
            let made = canonical(spelling, EscapedSlashes::UnescapeAndForward);
            assert_eq!(made.as_deref(), Ok(expected), "{spelling}");
            assert_eq!(canonical(expected, EscapedSlashes::Keep), made);
        }
    }

    #[test]
    fn a_nul_is_refused() {
        assert_eq!(canonical("/a%00/b", EscapedSlashes::Keep), Err(400));
    }

    #[test]
    fn escaped_slashes_follow_the_configured_action() {
        use EscapedSlashes::*;
        assert_eq!(canonical("/a%2Fb", Keep).as_deref(), Ok("/a%2Fb"));
        assert_eq!(canonical("/a%2fb", Reject), Err(400));
        assert_eq!(
            canonical("/a%5Cb", UnescapeAndForward).as_deref(),
            Ok("/a/b")
        );
        assert_eq!(canonical("/a%2Fb?q", UnescapeAndRedirect), Err(307));
        assert_eq!(
            canonical("/x/..%2Fb", UnescapeAndForward).as_deref(),
            Ok("/b")
        );
    }
}
