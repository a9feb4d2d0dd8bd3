//! Host names as Istio compares them: exact, `*.suffix`, and `*`.

/// A host in an object of a namespace, in full: a name without a dot is a service of that
/// namespace.
pub fn resolve(host: &str, namespace: &str, domain: &str) -> String {
    if host.is_empty() || host.starts_with('*') || host.contains('.') {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.{domain}")
    }
}

/// Whether a pattern covers a host; `*.a.b` covers `x.a.b` and `*.x.a.b`, not `a.b`.
pub fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.strip_prefix('*').unwrap_or(host).ends_with(suffix),
        None => pattern == host,
    }
}

/// Whether some name is matched by both.
pub fn overlap(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

/// Sorts by precedence: exact before wildcard, longer before shorter, then by name.
pub fn rank(host: &str) -> (bool, std::cmp::Reverse<usize>, &str) {
    (host.starts_with('*'), std::cmp::Reverse(host.len()), host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_what_they_end_and_nothing_else() {
        assert!(covers("*", "a.b"));
        assert!(covers("*.b", "a.b"));
        assert!(covers("*.b", "*.a.b"));
        assert!(!covers("*.b", "b"));
        assert!(!covers("*.a.b", "*.b"));
        assert!(overlap("*.b", "a.b") && overlap("a.b", "*.b"));
        assert_eq!(resolve("reviews", "x", "c.l"), "reviews.x.svc.c.l");
        assert_eq!(resolve("reviews.x", "y", "c.l"), "reviews.x");
    }
}
