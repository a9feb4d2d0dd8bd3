//! Heads of messages: from header blocks, checked (RFC 9113 8.2 and 8.3), and into them.

use super::hpack::{Content, Encoder, Field, Pseudo};
use crate::http::codec::SwitchTo;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

/// Room for the fields of most messages, and those that the proxy adds.
const USUAL_FIELDS: usize = 24;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// A message that breaks a rule (RFC 9113 8.1.1): its stream ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub &'static str);

/// The fields of one block, in the making.
#[derive(Default)]
pub(super) struct Fields {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    status: Option<Bytes>,
    protocol: Option<Bytes>,
    headers: HeaderMap,
    /// As SETTINGS_MAX_HEADER_LIST_SIZE counts.
    size: usize,
    limit: usize,
    malformed: Option<Malformed>,
}

impl Fields {
    /// `limit`: bytes beyond which fields are counted and not kept.
    pub fn new(limit: usize, trailers: bool) -> Self {
        let headers = match trailers {
            true => HeaderMap::new(),
            false => HeaderMap::with_capacity(USUAL_FIELDS),
        };
        Self {
            headers,
            limit,
            ..Self::default()
        }
    }

    pub fn is_too_large(&self) -> bool {
        self.size > self.limit
    }

    pub fn add(&mut self, field: Field) {
        self.size += field.size;
        if self.is_too_large() || self.malformed.is_some() {
            return;
        }
        if let Err(malformed) = self.take(field.content) {
            self.malformed = Some(malformed);
        }
    }

    fn take(&mut self, content: Content) -> Result<(), Malformed> {
        match content {
            Content::Pseudo(..) if !self.headers.is_empty() => {
                Err(Malformed("a pseudo-header behind a header"))
            }
            Content::Pseudo(pseudo, value) => {
                let place = match pseudo {
                    Pseudo::Method => &mut self.method,
                    Pseudo::Scheme => &mut self.scheme,
                    Pseudo::Authority => &mut self.authority,
                    Pseudo::Path => &mut self.path,
                    Pseudo::Status => &mut self.status,
                    Pseudo::Protocol => &mut self.protocol,
                };
                match place.replace(value) {
                    None => Ok(()),
                    Some(_) => Err(Malformed("a pseudo-header twice")),
                }
            }
            Content::Header(name, value) => {
                if is_of_connection(&name) || name == TE && value != "trailers" {
                    return Err(Malformed("a header of HTTP/1 connections"));
                }
                if self.headers.try_append(name, value).is_err() {
                    // More names than a map can hold.
                    self.size = usize::MAX >> 1;
                }
                Ok(())
            }
            Content::Invalid(_) => Err(Malformed("an invalid header")),
        }
    }

    fn has_pseudo(&self) -> bool {
        self.method.is_some()
            || self.scheme.is_some()
            || self.authority.is_some()
            || self.path.is_some()
            || self.protocol.is_some()
    }

    /// `extended`: extended CONNECT was offered (RFC 8441 4).
    pub fn into_request(self, extended: bool) -> Result<Request<()>, Malformed> {
        if let Some(malformed) = self.malformed {
            return Err(malformed);
        }
        if self.status.is_some() {
            return Err(Malformed(":status in a request"));
        }
        let method = self.method.ok_or(Malformed("no :method"))?;
        let method = Method::from_bytes(&method).map_err(|_| Malformed("a wrong :method"))?;
        let protocol = match self.protocol {
            None => None,
            Some(_) if !extended || method != Method::CONNECT => {
                return Err(Malformed(":protocol without extended CONNECT"));
            }
            Some(protocol) => {
                let protocol = HeaderValue::from_maybe_shared(protocol);
                Some(protocol.map_err(|_| Malformed("a wrong :protocol"))?)
            }
        };
        let mut parts = http::uri::Parts::default();
        if let Some(authority) = self.authority {
            let authority = Authority::from_maybe_shared(authority);
            parts.authority = Some(authority.map_err(|_| Malformed("a wrong :authority"))?);
        }
        if method == Method::CONNECT && protocol.is_none() {
            if self.scheme.is_some() || self.path.is_some() || parts.authority.is_none() {
                return Err(Malformed("CONNECT with other than :authority"));
            }
        } else {
            let scheme = self.scheme.ok_or(Malformed("no :scheme"))?;
            let scheme = Scheme::try_from(&*scheme).map_err(|_| Malformed("a wrong :scheme"))?;
            // A fragment would be dropped in silence.
            let whole = |path: &Bytes| !path.is_empty() && !path.contains(&b'#');
            let path = self.path.filter(whole);
            let path = PathAndQuery::from_maybe_shared(
                path.ok_or(Malformed("no :path, or one with a fragment"))?,
            );
            parts.path_and_query = Some(path.map_err(|_| Malformed("a wrong :path"))?);
            // An `Uri` has no scheme without an authority.
            parts.scheme = parts.authority.is_some().then_some(scheme);
        }
        let uri = Uri::from_parts(parts).map_err(|_| Malformed("a wrong target"))?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers;
        if let Some(protocol) = protocol {
            request.extensions_mut().insert(SwitchTo(protocol));
        }
        Ok(request)
    }

    pub fn into_response(self) -> Result<Response<()>, Malformed> {
        let has_pseudo = self.has_pseudo();
        if let Some(malformed) = self.malformed {
            return Err(malformed);
        }
        if has_pseudo {
            return Err(Malformed("a pseudo-header of requests"));
        }
        let status = self.status.ok_or(Malformed("no :status"))?;
        let status = StatusCode::from_bytes(&status).map_err(|_| Malformed("a wrong :status"))?;
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = self.headers;
        Ok(response)
    }

    pub fn into_trailers(self) -> Result<HeaderMap, Malformed> {
        if self.has_pseudo() || self.status.is_some() {
            return Err(Malformed("a pseudo-header in trailers"));
        }
        match self.malformed {
            Some(malformed) => Err(malformed),
            None => Ok(self.headers),
        }
    }
}

/// Headers that concern a connection of HTTP/1 (RFC 9113 8.2.2).
fn is_of_connection(name: &HeaderName) -> bool {
    match *name {
        CONNECTION | TRANSFER_ENCODING | UPGRADE => true,
        _ => *name == KEEP_ALIVE || *name == PROXY_CONNECTION,
    }
}

/// The body's length as the head tells it.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else {
        return Ok(None);
    };
    let length = parse_length(first).ok_or(Malformed("a wrong content-length"))?;
    if lengths.any(|other| parse_length(other) != Some(length)) {
        return Err(Malformed("content-lengths that differ"));
    }
    Ok(Some(length))
}

fn parse_length(value: &HeaderValue) -> Option<u64> {
    let text = value.as_bytes();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Says the body's length, where it is known and not said.
pub(super) fn tell_length(headers: &mut HeaderMap, length: Option<u64>) {
    if let Some(length) = length {
        headers
            .entry(CONTENT_LENGTH)
            .or_insert_with(|| length.into());
    }
}

/// Appends the block of a request.
pub(super) fn encode_request<B>(encoder: &mut Encoder, request: &Request<B>, out: &mut Vec<u8>) {
    encoder.begin(out);
    let uri = request.uri();
    encoder.pseudo(Pseudo::Method, request.method().as_str().as_bytes(), out);
    let protocol = match *request.method() {
        Method::CONNECT => request.extensions().get::<SwitchTo>(),
        _ => None,
    };
    if let Some(SwitchTo(protocol)) = protocol {
        encoder.pseudo(Pseudo::Protocol, protocol.as_bytes(), out);
    }
    if *request.method() != Method::CONNECT || protocol.is_some() {
        let scheme = uri.scheme_str().unwrap_or("http");
        encoder.pseudo(Pseudo::Scheme, scheme.as_bytes(), out);
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        encoder.pseudo(Pseudo::Path, path.as_bytes(), out);
    }
    if let Some(authority) = uri.authority() {
        encoder.pseudo(Pseudo::Authority, authority.as_str().as_bytes(), out);
    }
    for (name, value) in request.headers() {
        if !is_of_connection(name) && (*name != TE || value == "trailers") {
            encoder.header(name, value, out);
        }
    }
}

/// Appends the block of an answer.
pub(super) fn encode_response(
    encoder: &mut Encoder,
    status: StatusCode,
    headers: &HeaderMap,
    out: &mut Vec<u8>,
) {
    encoder.begin(out);
    encoder.status(status, out);
    for (name, value) in headers {
        if !is_of_connection(name) && *name != TE {
            encoder.header(name, value, out);
        }
    }
}

/// Appends the block of trailers.
pub(super) fn encode_trailers(encoder: &mut Encoder, trailers: &HeaderMap, out: &mut Vec<u8>) {
    encoder.begin(out);
    for (name, value) in trailers {
        if !is_of_connection(name) {
            encoder.header(name, value, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hpack::Decoder;
    use super::*;

    fn fields(pairs: &[(&str, &str)], limit: usize) -> Fields {
        let mut block = Vec::new();
        for (name, value) in pairs {
            block.push(0);
            for text in [name, value] {
                block.push(text.len() as u8);
                block.extend(text.as_bytes());
            }
        }
        let mut fields = Fields::new(limit, false);
        Decoder::default()
            .decode(&block, |field| fields.add(field))
            .unwrap();
        fields
    }

    const GET: [(&str, &str); 4] = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/p?q"),
    ];

    #[test]
    fn a_request_is_taken_apart_and_put_together_again() {
        let mut pairs = GET.to_vec();
        pairs.extend([("te", "trailers"), ("x-a", "1"), ("x-a", "2")]);
        let request = fields(&pairs, 1000).into_request(false).unwrap();
        assert_eq!(request.uri(), "http://a/p?q");
        assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
        let mut block = Vec::new();
        encode_request(&mut Encoder::default(), &request, &mut block);
        let mut again = Fields::new(1000, false);
        Decoder::default()
            .decode(&block, |field| again.add(field))
            .unwrap();
        let again = again.into_request(false).unwrap();
        assert_eq!(again.headers(), request.headers());
        assert_eq!(again.uri(), request.uri());
    }

    #[test]
    fn malformed_requests_are_refused() {
        let with = |more: &[(&'static str, &'static str)]| [&GET[..], more].concat();
        let without =
            |name: &str| -> Vec<_> { GET.into_iter().filter(|(own, _)| *own != name).collect() };
        for pairs in [
            without(":method"),
            without(":scheme"),
            without(":path"),
            with(&[(":path", "/")]),
            with(&[(":status", "200")]),
            with(&[(":protocol", "websocket")]),
            with(&[(":unknown", "x")]),
            with(&[("x", "1"), (":authority", "b")]),
            with(&[("connection", "close")]),
            with(&[("transfer-encoding", "chunked")]),
            with(&[("keep-alive", "1")]),
            with(&[("proxy-connection", "1")]),
            with(&[("upgrade", "h2c")]),
            with(&[("te", "gzip")]),
            with(&[("Upper", "1")]),
            with(&[("x", "a\nb")]),
            vec![(":method", "CONNECT"), (":authority", "a"), (":path", "/")],
            vec![(":method", "CONNECT")],
            vec![(":method", "GET"), (":scheme", "http"), (":path", "")],
            vec![(":method", "GET"), (":scheme", "http"), (":path", "/#/x")],
        ] {
            assert!(
                fields(&pairs, 1000).into_request(false).is_err(),
                "{pairs:?}"
            );
        }
        let connect = [(":method", "CONNECT"), (":authority", "a:1")];
        assert!(fields(&connect, 1000).into_request(false).is_ok());
    }

    #[test]
    fn extended_connect_names_its_protocol_where_it_is_offered() {
        let pairs = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/chat"),
        ];
        assert!(fields(&pairs, 1000).into_request(false).is_err());
        assert!(fields(&pairs[..2], 1000).into_request(true).is_err());
        let request = fields(&pairs, 1000).into_request(true).unwrap();
        let mut block = Vec::new();
        encode_request(&mut Encoder::default(), &request, &mut block);
        let mut again = Fields::new(1000, false);
        Decoder::default()
            .decode(&block, |field| again.add(field))
            .unwrap();
        let again = again.into_request(true).unwrap();
        let SwitchTo(protocol) = again.extensions().get().unwrap();
        assert_eq!(
            (protocol.as_bytes(), again.uri().path()),
            (&b"websocket"[..], "/chat")
        );
        let with_protocol = [&GET[..], &[(":protocol", "websocket")]].concat();
        assert!(fields(&with_protocol, 1000).into_request(true).is_err());
    }

    #[test]
    fn responses_and_trailers_have_their_own_rules() {
        assert!(fields(&[(":status", "200")], 100).into_response().is_ok());
        for pairs in [
            &[("x", "1")][..],
            &[(":status", "20")],
            &[(":status", "200"), (":path", "/")],
        ] {
            assert!(fields(pairs, 1000).into_response().is_err(), "{pairs:?}");
        }
        assert!(fields(&[("x", "1")], 100).into_trailers().is_ok());
        assert!(fields(&[(":status", "200")], 100).into_trailers().is_err());
    }

    #[test]
    fn what_is_too_large_is_counted_and_not_kept() {
        let long = "v".repeat(100);
        let large = fields(&[("a", &long), ("b", &long)], 200);
        assert!(large.is_too_large());
        assert_eq!(large.headers.len(), 1);
    }

    #[test]
    fn lengths_must_agree() {
        let lengths = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            content_length(&headers)
        };
        assert_eq!(lengths(&[]), Ok(None));
        assert_eq!(lengths(&["7", "7"]), Ok(Some(7)));
        for wrong in [
            &["7", "8"][..],
            &["+7"],
            &[""],
            &["7, 7"],
            &["99999999999999999999"],
        ] {
            assert!(lengths(wrong).is_err(), "{wrong:?}");
        }
    }
}
