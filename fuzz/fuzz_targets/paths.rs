//! Canonical paths and rewriting. Whatever is made canonical stays as it is when it is made so
//! again, has nothing left that another spelling could hide behind, and is what the algorithm of
//! RFC 3986 makes of it; a query is never touched.
//!
//! The first line of an input chooses: `n` normalization, `m` merged slashes, and of `k`, `r`,
//! `u`, `f` whether escaped slashes are kept, refused, or unescaped with a redirect or without. The
//! second is the target; a third and fourth are a prefix and what takes its place.
#![no_main]

use http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;
use meltemi_proxy::http::fuzzing::{normalize, rewritten};
use meltemi_proxy::model::{EscapedSlashes, PathMatch, PathNormalization, PathRewrite};

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let (Some(options), Some(target)) = (lines.next(), lines.next()) else {
        return;
    };
    let Ok(target) = PathAndQuery::try_from(target) else {
        return;
    };
    if !target.path().starts_with('/') {
        return;
    }
    canonical(options_of(options), &target);
    if let (Some(prefix), Some(fresh)) = (lines.next(), lines.next())
        && let (Ok(prefix), Ok(fresh)) = (std::str::from_utf8(prefix), std::str::from_utf8(fresh))
    {
        rewriting(prefix, fresh, &target);
    }
});

fn options_of(letters: &[u8]) -> PathNormalization {
    PathNormalization {
        normalize: letters.contains(&b'n'),
        merge_slashes: letters.contains(&b'm'),
        escaped_slashes: match letters {
            letters if letters.contains(&b'r') => EscapedSlashes::Reject,
            letters if letters.contains(&b'u') => EscapedSlashes::UnescapeAndRedirect,
            letters if letters.contains(&b'f') => EscapedSlashes::UnescapeAndForward,
            _ => EscapedSlashes::Keep,
        },
    }
}

fn canonical(options: PathNormalization, target: &PathAndQuery) {
    let made = match normalize(options, target.clone()) {
        Ok(made) => made,
        Err((status, None)) => {
            assert_eq!(status, 400);
            return;
        }
        Err((status, Some(made))) => {
            assert_eq!(status, 307);
            assert_eq!(options.escaped_slashes, EscapedSlashes::UnescapeAndRedirect);
            made
        }
    };
    assert_eq!(
        normalize(options, made.clone()),
        Ok(made.clone()),
        "{target} is not made canonical at once"
    );
    assert_eq!(made.query(), target.query());
    let path = made.path();
    assert!(path.starts_with('/'), "{target} became {made}");
    let lower = path.to_ascii_lowercase();
    if options.escaped_slashes != EscapedSlashes::Keep {
        assert!(
            !lower.contains("%2f") && !lower.contains("%5c"),
            "{target} became {made}"
        );
    }
    if options.merge_slashes {
        assert!(!path.contains("//"), "{target} became {made}");
    }
    if !options.normalize {
        return;
    }
    assert!(
        !path.contains('\\') && !lower.contains("%00"),
        "{target} became {made}"
    );
    for segment in path.split('/') {
        let name = segment.split(';').next().unwrap_or_default();
        assert!(name != "." && name != "..", "{target} became {made}");
    }
    for (at, _) in path.match_indices('%') {
        let octet = path
            .get(at + 1..at + 3)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
        assert!(!octet.is_some_and(plain), "{target} became {made}");
    }
    // Parameters of dots, and what looks like an escape only once another is undone, are beyond
    // the RFC.
    if target.path().contains(';') || broken_escape(target.path()) {
        return;
    }
    let mut wanted = by_the_rfc(
        target.path(),
        options.escaped_slashes != EscapedSlashes::Keep,
    );
    if options.merge_slashes {
        while wanted.contains("//") {
            wanted = wanted.replace("//", "/");
        }
    }
    assert_eq!(path, wanted, "{target}");
}

fn broken_escape(path: &str) -> bool {
    path.match_indices('%').any(|(at, _)| {
        let digits = path.as_bytes().get(at + 1..at + 3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Sections 6.2.2.2 and 5.2.4, with an input and an output buffer as it is written there.
fn by_the_rfc(path: &str, unescape_slashes: bool) -> String {
    let mut plain = path.to_owned();
    for octet in 0..=127u8 {
        let letter = char::from(octet);
        let slash = letter == '/' || letter == '\\';
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) || (slash && unescape_slashes)
        {
            let fresh = if slash {
                "/".to_owned()
            } else {
                letter.to_string()
            };
            for escape in [format!("%{octet:02x}"), format!("%{octet:02X}")] {
                plain = plain.replace(&escape, &fresh);
            }
            // Of both cases.
            if format!("{octet:02x}")
                .bytes()
                .filter(u8::is_ascii_alphabetic)
                .count()
                == 2
            {
                let digits = format!("{octet:02x}");
                let (high, low) = digits.split_at(1);
                for escape in [
                    format!("%{}{low}", high.to_ascii_uppercase()),
                    format!("%{high}{}", low.to_ascii_uppercase()),
                ] {
                    plain = plain.replace(&escape, &fresh);
                }
            }
        }
    }
    let mut input = plain.replace('\\', "/");
    let mut output = String::new();
    while !input.is_empty() {
        if input.starts_with("/./") {
            input.drain(..2);
        } else if input == "/." {
            input = "/".into();
        } else if input.starts_with("/../") || input == "/.." {
            input.replace_range(..input.len().min(4), "/");
            output.truncate(output.rfind('/').unwrap_or(0));
        } else {
            let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
            output.extend(input.drain(..end));
        }
    }
    output
}

fn rewriting(prefix: &str, fresh: &str, target: &PathAndQuery) {
    let Some(rest) = target.path().strip_prefix(prefix) else {
        return;
    };
    let matched = PathMatch::Prefix(prefix.into());
    let Some(made) = rewritten(&PathRewrite::Prefix(fresh.into()), &matched, target) else {
        return;
    };
    // Of a prefix with a query or a fragment comes what its author wrote.
    if fresh.contains(['?', '#']) {
        return;
    }
    let wanted = format!("{fresh}{rest}");
    assert_eq!(
        made.path(),
        format!("/{}", wanted.strip_prefix('/').unwrap_or(&wanted))
    );
    assert_eq!(made.query(), target.query());
}
