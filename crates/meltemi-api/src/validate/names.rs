//! Names: DNS labels, domains with wildcards, addresses.

use std::net::IpAddr;

type Verdict = Result<(), (String, String)>;

fn wrong(message: String, remedy: &str) -> Verdict {
    Err((message, remedy.to_owned()))
}

/// RFC 1123 label: letters, digits, '-', at most 63.
pub(super) fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Kubernetes' qualified name, without prefix.
pub(super) fn is_qualified_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// A domain name, one label or more; a dot at the end is allowed.
pub(super) fn fqdn(text: &str) -> Verdict {
    let labels = text.strip_suffix('.').unwrap_or(text);
    if labels.is_empty() {
        return wrong("an empty host".into(), "name a host");
    }
    if text.len() > 255 {
        return wrong(
            format!("{text:?} is longer than 255 characters"),
            "shorten it",
        );
    }
    match labels.split('.').find(|label| !is_label(label)) {
        None => Ok(()),
        Some(label) => wrong(
            format!("{text:?} is not a domain name: {label:?} is not a label"),
            "use letters, digits and '-' between dots",
        ),
    }
}

/// A domain name whose first label may be `*`; also `*` alone.
pub(super) fn wildcard_domain(text: &str) -> Verdict {
    if text == "*" {
        return Ok(());
    }
    match text.strip_prefix('*') {
        Some(rest) => match rest.strip_prefix('.') {
            Some(rest) => fqdn(rest),
            None => wrong(
                format!("partial wildcard {text:?}"),
                "a wildcard stands for whole labels: *.example.com",
            ),
        },
        None => fqdn(text),
    }
}

/// As [`wildcard_domain`], or a mesh SNI name `outbound_.PORT_.SUBSET_.HOST`.
pub(super) fn sni_domain(text: &str) -> Verdict {
    let mut parts = text.splitn(4, "_.");
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("outbound"), Some(port), Some(subset), Some(host))
            if port.parse::<u16>().is_ok() && (subset.is_empty() || is_label(subset)) =>
        {
            fqdn(host)
        }
        _ => wildcard_domain(text),
    }
}

/// An address or an address with a prefix length.
pub(super) fn ip_or_subnet(text: &str) -> Verdict {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(ip) = address.parse::<IpAddr>() else {
        return wrong(
            format!("{text:?} is not an address"),
            "write for example 10.0.0.0/8",
        );
    };
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    match prefix.map(str::parse::<u8>) {
        None => Ok(()),
        Some(Ok(length)) if length <= bits => Ok(()),
        Some(_) => wrong(
            format!("{text:?} has no prefix length of 0..{bits}"),
            "write for example 10.0.0.0/8",
        ),
    }
}

/// Whether one of the two names covers the other.
pub(super) fn hosts_overlap(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        (Some(suffix), None) => b.ends_with(suffix),
        (None, Some(suffix)) => a.ends_with(suffix),
        (None, None) => a == b,
    }
}

/// An HTTP header's name (RFC 9110 token; pseudo headers with their colon).
pub(super) fn header(name: &str) -> Verdict {
    if name.is_empty() {
        return wrong("an empty header name".into(), "name the header");
    }
    let token = name.strip_prefix(':').unwrap_or(name);
    let valid = !token.is_empty()
        && token
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if valid {
        Ok(())
    } else {
        wrong(
            format!("{name:?} is not a header name"),
            "use letters, digits and '-'",
        )
    }
}

/// The file of a `unix://` address.
pub(super) fn unix_path(path: &str) -> Verdict {
    if (path.starts_with('/') && !path.ends_with('/')) || path.starts_with('@') {
        return Ok(());
    }
    wrong(
        format!("{path:?} is not the absolute path of a socket"),
        "write for example unix:///run/app.sock",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_whole_labels_at_the_front() {
        for good in ["*", "*.bar.com", "foo", "foo.bar.", "a-b.c"] {
            assert!(wildcard_domain(good).is_ok(), "{good}");
        }
        for bad in [
            "*bar.com",
            "foo.*.com",
            "*.*.com",
            "",
            "-",
            "a..b",
            "foo_bar",
        ] {
            assert!(wildcard_domain(bad).is_err(), "{bad}");
        }
        assert!(hosts_overlap("*.foo.bar", "*.bar"));
        assert!(!hosts_overlap("*.foo.bar", "x.bar"));
    }

    #[test]
    fn subnets() {
        assert!(ip_or_subnet("10.0.0.0/8").is_ok());
        assert!(ip_or_subnet("::1").is_ok());
        assert!(ip_or_subnet("10.0.0.0/33").is_err());
        assert!(ip_or_subnet("x").is_err());
    }
}
