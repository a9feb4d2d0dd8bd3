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

/// A domain name, one label or more; a dot at the end is allowed. The last label is not a
/// number: that would be an address.
pub(super) fn fqdn(text: &str) -> Verdict {
    labels(text)?;
    let last = text.rsplit('.').next().unwrap_or_default();
    if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
        return wrong(
            format!("{text:?} is not a domain name: its last label {last:?} is a number"),
            "name a host",
        );
    }
    Ok(())
}

/// A trust domain: labels between dots.
pub(super) fn trust_domain(text: &str) -> Verdict {
    labels(text)
}

fn labels(text: &str) -> Verdict {
    let labels = text.strip_suffix('.').unwrap_or(text);
    if labels.is_empty() {
        return wrong("an empty name".into(), "name a host");
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

/// A domain name whose first label may be `*` or begin with it; also `*` alone.
pub(super) fn wildcard_domain(text: &str) -> Verdict {
    if text == "*" {
        return Ok(());
    }
    let name = ["*.", "*-", "*"]
        .iter()
        .find_map(|wildcard| text.strip_prefix(wildcard))
        .unwrap_or(text);
    if text.contains('.') {
        fqdn(name)
    } else {
        labels(name)
    }
}

/// As [`wildcard_domain`], but a wildcard stands for whole labels: `*.example.com`.
pub(super) fn whole_wildcard_domain(text: &str) -> Verdict {
    if text.len() > 1 && text.starts_with('*') && !text.starts_with("*.") {
        return wrong(
            format!("partial wildcard {text:?}"),
            "a wildcard stands for whole labels: *.example.com",
        );
    }
    wildcard_domain(text)
}

/// `host:port` with a domain name or an address.
pub(super) fn host_and_port(text: &str) -> Verdict {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => (host, port),
        _ => {
            return wrong(
                format!("{text:?} has no port"),
                "write HOST:PORT, or [ADDRESS]:PORT for IPv6",
            );
        }
    };
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return wrong(
            format!("{port:?} is not a port"),
            "write a number, 1 to 65535",
        );
    }
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match bracketed {
        Some(address) if address.parse::<IpAddr>().is_ok() => Ok(()),
        Some(address) => wrong(
            format!("{address:?} is not an address"),
            "write [ADDRESS]:PORT",
        ),
        None if host.parse::<std::net::Ipv4Addr>().is_ok() => Ok(()),
        None => fqdn(host),
    }
}

/// `[NAMESPACE/]HOST` of a provider's service; an address may stand for the host.
pub(super) fn provider_service(text: &str) -> Verdict {
    let Some((namespace, host)) = text.split_once('/') else {
        if text.parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        return fqdn(text);
    };
    if !["*", ".", "~"].contains(&namespace) && !is_label(namespace) {
        return wrong(
            format!("{namespace:?} is not a namespace"),
            "write NAMESPACE/HOST",
        );
    }
    if !host.contains('.') && host != "*" {
        return wrong(
            format!("{host:?} is a short name"),
            "write the full name, for example tracer.default.svc.cluster.local",
        );
    }
    whole_wildcard_domain(host)
}

/// The scheme of a URL, none when it begins with its host.
///
/// # Errors
/// Why it is not a URL.
pub(super) fn url_scheme(text: &str) -> Result<Option<&str>, String> {
    if let Some(bad) = text
        .chars()
        .find(|c| c.is_control() || c.is_whitespace() || "<>\"\\^`{|}".contains(*c))
    {
        return Err(format!("{bad:?} is not allowed in it"));
    }
    let escapes = text.split('%').skip(1);
    for escape in escapes {
        let digits = escape.bytes().take_while(u8::is_ascii_hexdigit).take(2);
        if digits.count() < 2 {
            return Err("a % is not followed by two hexadecimal digits".into());
        }
    }
    let named = text.split_once(':').filter(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    });
    match named {
        Some((scheme, rest)) if scheme != "file" && rest.starts_with("//") => {
            let host = rest[2..].split(['/', '?', '#']).next().unwrap_or_default();
            if host.is_empty() {
                return Err("it names no host".into());
            }
            Ok(Some(scheme))
        }
        Some((scheme, _)) => Ok(Some(scheme)),
        None => Ok(None),
    }
}

/// A header name of letters, digits, '-' and '_'.
pub(super) fn is_simple_header(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
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
            assert!(whole_wildcard_domain(good).is_ok(), "{good}");
        }
        for partial in ["*bar.com", "*-bar.com", "*b"] {
            assert!(wildcard_domain(partial).is_ok(), "{partial}");
            assert!(whole_wildcard_domain(partial).is_err(), "{partial}");
        }
        for bad in [
            "*--",
            "1.1.1.1",
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
