//! Header propagation: what an application must hand on so that traces join up and routing
//! by user works through it. The lists are those of Istio's bookinfo (reviews and
//! productpage, "headers_to_propagate").

use http::{HeaderMap, HeaderName};

const HANDED_ON: &[&str] = &[
    "x-request-id",
    "x-ot-span-context",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "traceparent",
    "tracestate",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "sw8",
    "user-agent",
    "cookie",
    "authorization",
    "jwt",
];

/// The user's name, set by productpage from its session and handed on by reviews.
pub(crate) const END_USER: HeaderName = HeaderName::from_static("end-user");

/// The headers of `incoming` that go into every call made on its behalf, without
/// [`END_USER`].
pub(crate) fn headers(incoming: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for name in HANDED_ON {
        for value in incoming.get_all(*name) {
            out.append(HeaderName::from_static(name), value.clone());
        }
    }
    out
}

/// As [`headers`], with [`END_USER`].
pub(crate) fn headers_and_user(incoming: &HeaderMap) -> HeaderMap {
    let mut out = headers(incoming);
    for value in incoming.get_all(&END_USER) {
        out.append(END_USER, value.clone());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listed_headers_are_handed_on() {
        let mut incoming = HeaderMap::new();
        for (name, value) in [
            ("x-request-id", "1"),
            ("host", "a"),
            ("end-user", "jason"),
            ("accept", "x"),
        ] {
            incoming.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        assert_eq!(
            headers(&incoming).keys().collect::<Vec<_>>(),
            ["x-request-id"]
        );
        assert_eq!(headers_and_user(&incoming)["end-user"], "jason");
    }
}
