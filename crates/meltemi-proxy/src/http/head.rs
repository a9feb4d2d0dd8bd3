//! The request's head: taken apart, checked, and freed of what is between neighbours only.

use super::codec::SwitchTo;
use super::downstream::Arrival;
use super::names;
use super::reply::Reply;
use crate::model::{StripPort, UnderscoreAction};
use crate::telemetry::{Protocol, RequestHead};
use crate::upstream::NamedHost;
use http::header::{CONNECTION, COOKIE, EXPECT, HOST, TE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// A request's head as the rest of the proxy sees it. `Host` is in `authority` only.
pub(crate) struct Head {
    pub method: Method,
    pub authority: HeaderValue,
    pub path: PathAndQuery,
    pub scheme: &'static str,
    pub headers: HeaderMap,
    /// Lower-case token of an upgrade the client asks for, or `connect`.
    pub upgrade: Option<HeaderValue>,
    /// The client waits for 100 (Continue).
    pub expects_continue: bool,
    /// What the client speaks.
    pub protocol: Protocol,
    /// The spelling of the header names, when it is to be kept.
    pub spelling: Option<Box<http::Extensions>>,
    /// The request comes from an internal address: `x-envoy-*` headers are honoured.
    pub internal: bool,
}

impl Head {
    /// A copy for another attempt or a mirror.
    pub fn copy(&self) -> Self {
        Self {
            method: self.method.clone(),
            authority: self.authority.clone(),
            path: self.path.clone(),
            scheme: self.scheme,
            headers: self.headers.clone(),
            upgrade: self.upgrade.clone(),
            expects_continue: self.expects_continue,
            protocol: self.protocol,
            spelling: self.spelling.clone(),
            internal: self.internal,
        }
    }

    /// The head, to be sent; what is left is empty.
    pub fn take(&mut self) -> Self {
        let empty = Self {
            method: Method::GET,
            authority: HeaderValue::from_static(""),
            path: PathAndQuery::from_static("/"),
            scheme: self.scheme,
            headers: HeaderMap::new(),
            upgrade: None,
            expects_continue: false,
            protocol: self.protocol,
            spelling: None,
            internal: self.internal,
        };
        std::mem::replace(self, empty)
    }

    pub fn authority_str(&self) -> &str {
        std::str::from_utf8(self.authority.as_bytes()).unwrap_or_default()
    }

    /// Whom the request is for.
    pub fn host(&self) -> NamedHost<'_> {
        NamedHost {
            name: self.authority_str(),
            port: None,
        }
    }

    /// What the log and configured values say of the request; host and path when `fully`.
    pub fn describe(&self, request: &mut RequestHead, fully: bool) {
        request.method = Some(self.method.clone());
        request.scheme = self.scheme;
        if fully {
            request.authority = Some(self.authority_str().into());
            request.path = (self.method != Method::CONNECT).then(|| self.path.as_str().into());
        }
    }
}

/// Takes a received head in, and tells what is wrong with it. Order and answers are Envoy's.
pub(crate) fn receive(
    arrival: Arrival<'_>,
    protocol: Protocol,
    parts: http::request::Parts,
    has_body: bool,
) -> (Head, Option<Reply>) {
    let http::request::Parts {
        method,
        uri,
        headers,
        mut extensions,
        ..
    } = parts;
    let switch = extensions.remove::<SwitchTo>();
    let uri = uri.into_parts();
    let http1 = &arrival.manager.http1;
    let mut head = Head {
        method,
        authority: HeaderValue::from_static(""),
        path: uri.path_and_query.unwrap_or(PathAndQuery::from_static("/")),
        scheme: arrival.scheme(),
        headers,
        upgrade: None,
        expects_continue: false,
        protocol,
        spelling: http1.preserve_case.then(|| Box::new(extensions)),
        internal: false,
    };
    let refused = head.check(arrival, uri.authority, switch, has_body).err();
    (head, refused)
}

impl Head {
    fn check(
        &mut self,
        arrival: Arrival<'_>,
        target: Option<http::uri::Authority>,
        switch: Option<SwitchTo>,
        has_body: bool,
    ) -> Result<(), Reply> {
        let manager = arrival.manager;
        let headers = &mut self.headers;
        if self.protocol == Protocol::Http10 && !manager.http1.accept_http_10 {
            return Err(Reply::upgrade_required());
        }
        if headers.len() > manager.max_request_header_count as usize {
            let mut reply = Reply::bad_request("http.too_many_headers");
            reply.status = http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(reply);
        }
        if headers.get_all(HOST).iter().nth(1).is_some() {
            return Err(Reply::bad_request("http.duplicate_host"));
        }
        let host = headers.remove(HOST);
        // An absolute target or `:authority` wins over Host (RFC 9112 3.2.2).
        let authority = match target {
            Some(authority) if authority.as_str().contains('@') => {
                return Err(Reply::bad_request("http.invalid_authority"));
            }
            Some(authority) => {
                if self.protocol != Protocol::Http2
                    && self.method != Method::CONNECT
                    && !manager.http1.allow_absolute_url
                {
                    return Err(Reply::bad_request("http1.absolute_url_rejected"));
                }
                HeaderValue::from_str(authority.as_str())
                    .map_err(|_| Reply::bad_request("http.invalid_authority"))?
            }
            None => match (host, &manager.http1.default_host_for_http_10) {
                (Some(host), _) => host,
                (None, Some(host)) if self.protocol == Protocol::Http10 => {
                    HeaderValue::from_str(host)
                        .map_err(|_| Reply::rejected("missing_host_header"))?
                }
                (None, _) => return Err(Reply::rejected("missing_host_header")),
            },
        };
        self.authority = normalize_host(arrival, authority)?;
        if let Some(SwitchTo(token)) = switch {
            // Extended CONNECT asks for what GET and `Upgrade` ask for.
            if self.method == Method::CONNECT {
                self.method = Method::GET;
            }
            self.upgrade = Some(token);
        } else if self.method == Method::CONNECT {
            self.upgrade = Some(HeaderValue::from_static("connect"));
        }
        self.expects_continue = has_body
            && headers
                .get(EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        if self.expects_continue && !manager.proxy_100_continue {
            headers.remove(EXPECT);
        }
        strip_hop_by_hop(headers);
        if self.protocol == Protocol::Http2 {
            join_cookies(headers);
        }
        underscores(manager.underscores, self.protocol, headers)
    }
}

/// HTTP/2 clients may send one cookie a line; HTTP/1 servers expect all on one (RFC 9113
/// 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut values = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (values.next(), values.next()) else {
        return;
    };
    let mut all = Vec::with_capacity(first.len() + second.len() + 2);
    all.extend_from_slice(first.as_bytes());
    for value in std::iter::once(second).chain(values) {
        all.extend_from_slice(b"; ");
        all.extend_from_slice(value.as_bytes());
    }
    if let Ok(all) = HeaderValue::from_maybe_shared(bytes::Bytes::from(all)) {
        headers.insert(COOKIE, all);
    }
}

/// Whether the connection ends with the exchange by what the request is: HTTP/1.0 that does
/// not ask otherwise, and CONNECT, behind which anything may follow.
pub(crate) fn ends_connection<B>(request: &http::Request<B>) -> bool {
    *request.method() == Method::CONNECT
        || request.version() == http::Version::HTTP_10
            && !has_token(request.headers(), CONNECTION, b"keep-alive")
}

pub(crate) fn has_token(headers: &HeaderMap, name: HeaderName, wanted: &[u8]) -> bool {
    headers.get_all(name).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
    })
}

/// Always between neighbours, `Connection` and `TE` beside them.
const HOP_BY_HOP: [&str; 5] = [
    "keep-alive",
    "proxy-connection",
    "http2-settings",
    "transfer-encoding",
    "upgrade",
];

/// Removes what concerns this connection only (RFC 9110 7.6.1), the headers that
/// `Connection` names included; `TE: trailers` stays, gRPC needs it.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most messages have none of them: one look at the names there are.
    let concerned = |name: &HeaderName| {
        HOP_BY_HOP.contains(&name.as_str()) || *name == CONNECTION || *name == TE
    };
    if !headers.keys().any(concerned) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        let nominated: smallvec::SmallVec<[HeaderName; 2]> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
            .filter(|name| *name != TE)
            .collect();
        headers.remove(CONNECTION);
        for name in nominated {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if headers.contains_key(TE) {
        if has_token(headers, TE, b"trailers") {
            headers.insert(TE, names::TRAILERS.clone());
        } else {
            headers.remove(TE);
        }
    }
}

fn underscores(
    action: UnderscoreAction,
    protocol: Protocol,
    headers: &mut HeaderMap,
) -> Result<(), Reply> {
    if action == UnderscoreAction::Allow {
        return Ok(());
    }
    let found: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().contains('_'))
        .cloned()
        .collect();
    if !found.is_empty() && action == UnderscoreAction::RejectRequest {
        return Err(Reply::bad_request(match protocol {
            Protocol::Http2 => "http2.unexpected_underscore",
            _ => "http1.unexpected_underscore",
        }));
    }
    for name in found {
        headers.remove(name);
    }
    Ok(())
}

/// One spelling of the host for routing, policy and forwarding.
fn normalize_host(arrival: Arrival<'_>, host: HeaderValue) -> Result<HeaderValue, Reply> {
    let text = host
        .to_str()
        .map_err(|_| Reply::bad_request("http.invalid_authority"))?;
    if !text.bytes().all(is_host_byte) {
        return Err(Reply::bad_request("http.invalid_authority"));
    }
    let options = arrival.manager.host;
    let (mut name, mut port) = split_port(text);
    match options.strip_port {
        StripPort::No => {}
        StripPort::Any => port = None,
        StripPort::Matching => {
            let own = arrival.info.facts.destination.port();
            if port.is_some_and(|port| port.parse() == Ok(own)) {
                port = None;
            }
        }
    }
    if options.strip_trailing_dot {
        name = name.strip_suffix('.').unwrap_or(name);
    }
    let length = name.len() + port.map_or(0, |port| port.len() + 1);
    if length == text.len() {
        return Ok(host);
    }
    let text = match port {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    };
    HeaderValue::from_str(&text).map_err(|_| Reply::bad_request("http.invalid_authority"))
}

/// Bytes of a host and its port (RFC 3986, 3.2.2); without the comma, which would make two of
/// one.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&byte)
}

/// Host and port of an authority; brackets of an IPv6 address stay with the host.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn connection_nominates_what_is_stripped_but_te_trailers_stays() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-secret, keep-alive, TE"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("x-kept", "1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["te"], "trailers");
        assert_eq!(headers["x-kept"], "1");
    }

    #[test]
    fn ports_are_split_off() {
        assert_eq!(split_port("a:80"), ("a", Some("80")));
        assert_eq!(split_port("[::1]:80"), ("[::1]", Some("80")));
        assert_eq!(split_port("[::1]"), ("[::1]", None));
        assert_eq!(split_port("::1"), ("::1", None));
        assert_eq!(split_port("a:b"), ("a:b", None));
    }
}
