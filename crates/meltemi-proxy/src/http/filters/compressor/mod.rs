//! Compression (`envoy.filters.http.compressor`): of answers as far as the client accepts it, and
//! of requests where that is configured.
//!
//! Several of these filters in a chain agree on one coding of an answer: the one that the client
//! likes best, among equals the one it names first.

mod compile;

use super::coding::Encoding;
use super::{Answer, Call, Filter, HttpFilter};
use crate::compile::any::Typed;
use crate::compile::{Cx, Result as Compiled};
use crate::http::head::has_token;
use crate::http::reply::Reply;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body;

pub struct Compressor {
    encoding: Encoding,
    /// `None`: requests pass as they are.
    requests: Option<Direction>,
    answers: Direction,
    /// What is done with answers that have a strong ETag.
    etag: Etag,
    remove_accept_encoding: bool,
    uncompressible: Box<[StatusCode]>,
}

/// Which messages of a direction are compressed.
struct Direction {
    enabled: bool,
    /// Messages that say that they are shorter, in bytes, pass as they are.
    min_length: u32,
    content_types: Box<[Box<str>]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Etag {
    /// The tag goes: it is not that of the compressed body.
    Remove,
    Weaken,
    /// The answer passes as it is.
    Keep,
}

pub enum RouteCompressor {
    Disabled,
    /// Overrides: of the library, of removing `accept-encoding`.
    Own(Option<Encoding>, Option<bool>),
}

/// What a request says of the answer that it wants.
pub(crate) struct Asked {
    accept_encoding: Option<HeaderValue>,
    head: bool,
}

impl Direction {
    fn takes_type(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return true;
        };
        let value = value.as_bytes();
        let end = value.iter().position(|byte| *byte == b';');
        let kind = value[..end.unwrap_or(value.len())].trim_ascii();
        let mut own = self.content_types.iter();
        own.any(|own| own.as_bytes() == kind)
    }

    /// `known`: of a message without the header.
    fn long_enough(&self, headers: &HeaderMap, known: Option<u64>) -> bool {
        let length = headers.get(CONTENT_LENGTH);
        let length = length.map(|value| value.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(Some(length)) => length >= self.min_length.into(),
            Some(None) => false,
            None => known.is_none_or(|length| length >= self.min_length.into()),
        }
    }

    fn takes(&self, headers: &HeaderMap, known: Option<u64>) -> bool {
        self.enabled
            && self.long_enough(headers, known)
            && self.takes_type(headers)
            && !headers.contains_key(CONTENT_ENCODING)
    }
}

impl Compressor {
    /// Whether the answer could be compressed for somebody.
    fn compressible(&self, response: &Response<impl Body>) -> bool {
        let headers = response.headers();
        // The proxy's own answers get their length later.
        let known = response.body().size_hint().exact();
        self.answers.takes(headers, known)
            && !self.uncompressible.contains(&response.status())
            && !has_token(headers, CACHE_CONTROL, b"no-transform")
            && (self.etag != Etag::Keep || !headers.contains_key(ETAG))
    }

    fn encoding(&self, route: Option<&RouteCompressor>) -> Encoding {
        match route {
            Some(RouteCompressor::Own(Some(encoding), _)) => *encoding,
            _ => self.encoding,
        }
    }

    /// Routes that turn the filter off mean answers.
    fn compress_request(&self, encoding: Encoding, call: &mut Call<'_>) {
        let Some(direction) = &self.requests else {
            return;
        };
        let headers = &mut call.head.headers;
        let passes = call.head.upgrade.is_some() || call.body.is_end_stream();
        if !passes && direction.takes(headers, call.body.length()) {
            headers.remove(CONTENT_LENGTH);
            let name = HeaderValue::from_static(encoding.name());
            headers.insert(CONTENT_ENCODING, name);
            call.body.recode(encoding.start());
        }
    }

    fn fit_etag(&self, headers: &mut HeaderMap) {
        let Some(etag) = headers.get(ETAG) else {
            return;
        };
        let bytes = etag.as_bytes();
        if bytes.len() <= 2 || bytes[..2].eq_ignore_ascii_case(b"w/") {
            return;
        }
        let weak = match self.etag {
            Etag::Weaken => HeaderValue::from_bytes(&[b"W/", bytes].concat()).ok(),
            _ => None,
        };
        match weak {
            Some(weak) => headers.insert(ETAG, weak),
            None => headers.remove(ETAG),
        };
    }
}

/// The coding that a client likes best of those offered. `None`: as it is.
fn choose(accept: &HeaderValue, offered: &[&'static str]) -> Option<&'static str> {
    let accept = accept.to_str().ok()?;
    let mut offered = offered.to_vec();
    let mut wanted = Vec::new();
    for token in accept.split(',') {
        let (name, quality) = match token.split_once(';') {
            None => (token.trim(), 1.0),
            Some((name, parameter)) => match parameter.split_once('=') {
                Some((q, value)) if q.trim().eq_ignore_ascii_case("q") => {
                    let Ok(quality) = value.trim().parse::<f32>() else {
                        continue;
                    };
                    (name.trim(), quality)
                }
                _ => (name.trim(), 1.0),
            },
        };
        if quality == 0.0 {
            offered.retain(|offer| *offer != name);
        }
        wanted.push((name, quality));
    }
    let mut best = ("identity", 0.0);
    for (name, quality) in wanted {
        let known = offered.contains(&name) || name == "identity" || name == "*";
        if known && quality > best.1 {
            best = (name, quality);
        }
    }
    match best.0 {
        "identity" => None,
        "*" => offered.first().copied(),
        name => offered.into_iter().find(|offer| *offer == name),
    }
}

/// Caches learn that others may get another coding.
fn vary(headers: &mut HeaderMap) {
    if has_token(headers, VARY, b"accept-encoding") {
        return;
    }
    let joined = headers.get(VARY).and_then(|value| {
        HeaderValue::from_bytes(&[value.as_bytes(), b", Accept-Encoding"].concat()).ok()
    });
    let alone = HeaderValue::from_static("Accept-Encoding");
    headers.insert(VARY, joined.unwrap_or(alone));
}

impl Filter for Compressor {
    const CONFIG: &'static str = "envoy.extensions.filters.http.compressor.v3.Compressor";
    const ROUTE_CONFIG: &'static str =
        "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute";
    const ANSWERS: bool = true;
    type Route = RouteCompressor;
    type State = Option<Asked>;

    fn compile(typed: Typed, _stat_prefix: &str, _cx: &mut Cx<'_>) -> Compiled<Self> {
        typed.decode().and_then(compile::filter)
    }

    fn compile_route(typed: Typed, _cx: &mut Cx<'_>) -> Compiled<RouteCompressor> {
        typed.decode().and_then(compile::route)
    }

    async fn request(
        &self,
        route: Option<&RouteCompressor>,
        call: &mut Call<'_>,
    ) -> Result<Option<Asked>, Reply> {
        self.compress_request(self.encoding(route), call);
        let remove = match route {
            Some(RouteCompressor::Disabled) => return Ok(None),
            Some(RouteCompressor::Own(_, Some(remove))) => *remove,
            _ => self.remove_accept_encoding,
        };
        let headers = &mut call.head.headers;
        let accept_encoding = headers.get(ACCEPT_ENCODING).cloned();
        if remove && self.answers.enabled {
            headers.remove(ACCEPT_ENCODING);
        }
        Ok(Some(Asked {
            accept_encoding,
            head: call.head.method == Method::HEAD,
        }))
    }

    fn response(
        &self,
        route: Option<&RouteCompressor>,
        state: Option<Option<Asked>>,
        answer: &mut Answer<'_>,
    ) {
        let Some(Some(asked)) = state else {
            return;
        };
        if answer.response.body().is_tunnel() || !self.compressible(answer.response) {
            return;
        }
        let encoding = self.encoding(route);
        let headers = answer.response.headers();
        let chain = answer.exchange.chain();
        let offered: Vec<_> = chain
            .filter_map(|filter| match filter {
                HttpFilter::Compressor(other) if std::ptr::eq(other, self) => Some(encoding),
                HttpFilter::Compressor(other) => {
                    other.answers.takes_type(headers).then_some(other.encoding)
                }
                _ => None,
            })
            .map(Encoding::name)
            .collect();
        let choice = asked
            .accept_encoding
            .and_then(|accept| choose(&accept, &offered));
        let ends = answer.response.body().is_end_stream();
        if choice == Some(encoding.name()) && !asked.head && !ends {
            let headers = answer.response.headers_mut();
            self.fit_etag(headers);
            headers.remove(CONTENT_LENGTH);
            let name = HeaderValue::from_static(encoding.name());
            headers.insert(CONTENT_ENCODING, name);
            answer.response.body_mut().recode(encoding.start());
        }
        vary(answer.response.headers_mut());
    }
}

#[cfg(test)]
mod tests;
