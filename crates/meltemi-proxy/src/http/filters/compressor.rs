//! Compression of answers (`envoy.filters.http.compressor`), as far as the client accepts it.
//!
//! Several of these filters in a chain agree on one coding: the one that the client likes best,
//! among equals the one it names first.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::coding::Encoding;
use super::{Answer, Call, Filter, HttpFilter};
use crate::compile::any::Typed;
use crate::compile::basic::{runtime_flag, u32_or};
use crate::compile::pb::filters::http::compressor::v3 as proto;
use crate::compile::{At, Cx, Error, Result as Compiled, refuse};
use crate::http::reply::Reply;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body;

/// Envoy's `content_type` and `min_content_length` where none are configured.
const CONTENT_TYPES: &[&str] = &[
    "text/html",
    "text/plain",
    "text/css",
    "application/javascript",
    "application/x-javascript",
    "text/javascript",
    "text/x-javascript",
    "text/ecmascript",
    "text/js",
    "text/jscript",
    "text/x-js",
    "application/ecmascript",
    "application/x-json",
    "application/xml",
    "application/json",
    "image/svg+xml",
    "text/xml",
    "application/xhtml+xml",
];
const MIN_LENGTH: u32 = 30;

pub struct Compressor {
    encoding: Encoding,
    enabled: bool,
    /// Answers that say that they are shorter, in bytes, pass as they are.
    min_length: u32,
    content_types: Box<[Box<str>]>,
    /// What is done with answers that have a strong ETag.
    etag: Etag,
    remove_accept_encoding: bool,
    uncompressible: Box<[StatusCode]>,
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

impl Compressor {
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

    fn long_enough(&self, response: &Response<impl Body>) -> bool {
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.map(|value| value.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(Some(length)) => length >= self.min_length.into(),
            Some(None) => false,
            // The proxy's own answers get their length later.
            None => match response.body().size_hint().exact() {
                Some(length) => length >= self.min_length.into(),
                None => true,
            },
        }
    }

    /// Whether the answer could be compressed for somebody.
    fn compressible(&self, response: &Response<impl Body>) -> bool {
        let headers = response.headers();
        self.enabled
            && !self.uncompressible.contains(&response.status())
            && self.long_enough(response)
            && self.takes_type(headers)
            && !has_token(headers, &CACHE_CONTROL, "no-transform")
            && !(self.etag == Etag::Keep && headers.contains_key(ETAG))
            && !headers.contains_key(CONTENT_ENCODING)
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

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        let mut tokens = value.as_bytes().split(|byte| *byte == b',');
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
    })
}

/// Caches learn that others may get another coding.
fn vary(headers: &mut HeaderMap) {
    if has_token(headers, &VARY, "accept-encoding") {
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
        typed.decode().and_then(compile)
    }

    fn compile_route(typed: Typed, _cx: &mut Cx<'_>) -> Compiled<RouteCompressor> {
        typed.decode().and_then(compile_route)
    }

    async fn request(
        &self,
        route: Option<&RouteCompressor>,
        call: &mut Call<'_>,
    ) -> Result<Option<Asked>, Reply> {
        let remove = match route {
            Some(RouteCompressor::Disabled) => return Ok(None),
            Some(RouteCompressor::Own(_, Some(remove))) => *remove,
            _ => self.remove_accept_encoding,
        };
        let headers = &mut call.head.headers;
        let accept_encoding = headers.get(ACCEPT_ENCODING).cloned();
        if remove && self.enabled {
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
        let encoding = match route {
            Some(RouteCompressor::Own(Some(encoding), _)) => *encoding,
            _ => self.encoding,
        };
        let headers = answer.response.headers();
        let chain = answer.exchange.chain();
        let offered: Vec<_> = chain
            .filter_map(|filter| match filter {
                HttpFilter::Compressor(other) if std::ptr::eq(other, self) => Some(encoding),
                HttpFilter::Compressor(other) => {
                    other.takes_type(headers).then_some(other.encoding)
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

fn compile(value: proto::Compressor) -> Compiled<Compressor> {
    use proto::compressor::{CommonDirectionConfig, ResponseDirectionConfig};
    let proto::Compressor {
        content_length,
        content_type,
        disable_on_etag_header,
        remove_accept_encoding_header,
        runtime_enabled,
        compressor_library,
        request_direction_config,
        response_direction_config,
        choose_first,
    } = value;
    refuse!(request_direction_config, choose_first);
    let encoding = compressor_library
        .ok_or_else(|| Error::new("is required"))
        .and_then(Encoding::compile)
        .at("compressor_library")?;
    // The fields outside of it are those of older versions, and count without it only.
    let direction = response_direction_config.unwrap_or_else(|| ResponseDirectionConfig {
        common_config: Some(CommonDirectionConfig {
            enabled: runtime_enabled,
            min_content_length: content_length,
            content_type,
            content_type_matcher: Vec::new(),
        }),
        disable_on_etag_header,
        remove_accept_encoding_header,
        ..ResponseDirectionConfig::default()
    });
    answers(direction, encoding).at("response_direction_config")
}

fn answers(
    value: proto::compressor::ResponseDirectionConfig,
    encoding: Encoding,
) -> Compiled<Compressor> {
    use proto::compressor::{CommonDirectionConfig, ResponseDirectionConfig};
    let ResponseDirectionConfig {
        common_config,
        disable_on_etag_header,
        weaken_etag_on_compress,
        remove_accept_encoding_header,
        uncompressible_response_codes,
        status_header_enabled,
    } = value;
    refuse!(status_header_enabled);
    let CommonDirectionConfig {
        enabled,
        min_content_length,
        content_type,
        content_type_matcher,
    } = common_config.unwrap_or_default();
    refuse!(content_type_matcher);
    let content_types: Box<[Box<str>]> = match content_type.is_empty() {
        true => CONTENT_TYPES.iter().map(|name| (*name).into()).collect(),
        false => content_type.into_iter().map(Into::into).collect(),
    };
    let status = |code: u32| {
        u16::try_from(code)
            .ok()
            .and_then(|c| StatusCode::from_u16(c).ok())
    };
    Ok(Compressor {
        encoding,
        enabled: runtime_flag(enabled),
        min_length: u32_or(min_content_length, MIN_LENGTH),
        content_types,
        etag: match (disable_on_etag_header, weaken_etag_on_compress) {
            (true, _) => Etag::Keep,
            (false, true) => Etag::Weaken,
            (false, false) => Etag::Remove,
        },
        remove_accept_encoding: remove_accept_encoding_header,
        uncompressible: uncompressible_response_codes
            .into_iter()
            .map(|code| status(code).ok_or_else(|| Error::new(format!("{code} is no status"))))
            .collect::<Compiled<_>>()
            .at("uncompressible_response_codes")?,
    })
}

fn compile_route(value: proto::CompressorPerRoute) -> Compiled<RouteCompressor> {
    use proto::compressor_per_route::Override;
    let proto::CompressorPerRoute { r#override } = value;
    match r#override {
        Some(Override::Disabled(true)) => Ok(RouteCompressor::Disabled),
        Some(Override::Disabled(false)) | None => Err(Error::missing("overrides")),
        Some(Override::Overrides(proto::CompressorOverrides {
            response_direction_config,
            compressor_library,
        })) => {
            let encoding = compressor_library.map(Encoding::compile).transpose();
            let remove = response_direction_config.and_then(|direction| {
                let proto::ResponseDirectionOverrides {
                    remove_accept_encoding_header,
                } = direction;
                remove_accept_encoding_header
            });
            Ok(RouteCompressor::Own(
                encoding.at("overrides.compressor_library")?,
                remove.map(|value| value.value),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::filters::testkit::{Bench, Outcome, filter, typed};
    use crate::http::testkit::{request, run};
    use serde_json::{Value, json};

    #[test]
    fn the_client_chooses() {
        let choose = |accept: &'static str, offered: &[&'static str]| {
            super::choose(&HeaderValue::from_static(accept), offered)
        };
        let both = &["br", "gzip"];
        for (accept, expected) in [
            ("gzip", Some("gzip")),
            ("gzip, br", Some("gzip")),
            ("br;q=0.5, gzip;q=0.9", Some("gzip")),
            ("*", Some("br")),
            ("br;q=0, *;q=0.1", Some("gzip")),
            ("gzip;q=0.5, identity", None),
            ("deflate", None),
            ("gzip;q=0", None),
            ("gzip;q=nan-sense, br", Some("br")),
            ("", None),
        ] {
            assert_eq!(choose(accept, both), expected, "{accept}");
        }
    }

    fn gzip(more: Value) -> Value {
        let kind = "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip";
        let mut fields =
            json!({ "compressor_library": { "name": "l", "typed_config": { "@type": kind } } });
        for (key, value) in more.as_object().unwrap() {
            fields[key] = value.clone();
        }
        json!([filter("c", "compressor.v3.Compressor", fields)])
    }

    async fn answer(filters: Value, route: Value, headers: &[(&str, &str)]) -> Outcome {
        let mut response =
            Response::new("a text that is long enough to be compressed, as texts go");
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        let bench = Bench::new(filters, route).unwrap();
        let asked = request("GET", "/").header("accept-encoding", "gzip");
        bench.call(asked, response).await
    }

    #[test]
    fn some_answers_pass_as_they_are() {
        run(async {
            let text = ("content-type", "text/plain; charset=utf-8");
            let weak = json!({ "response_direction_config": { "weaken_etag_on_compress": true } });
            let keep = json!({ "disable_on_etag_header": true });
            let long = json!({ "response_direction_config": { "common_config": { "min_content_length": 1000 } } });
            for (config, headers, compressed) in [
                (json!({}), vec![text], true),
                (json!({}), vec![("content-type", "image/png")], false),
                (json!({}), vec![text, ("content-encoding", "br")], false),
                (
                    json!({}),
                    vec![text, ("cache-control", "private, no-transform")],
                    false,
                ),
                (json!({}), vec![text, ("content-length", "29")], false),
                (long, vec![text, ("content-length", "57")], false),
                (keep, vec![text, ("etag", "\"a\"")], false),
                (weak, vec![text, ("etag", "\"a\"")], true),
            ] {
                let outcome = answer(gzip(config), json!({}), &headers).await;
                let encoded = outcome.header("content-encoding") == Some("gzip");
                assert_eq!(encoded, compressed, "{headers:?}");
                if compressed {
                    assert_eq!(outcome.header("vary"), Some("Accept-Encoding"));
                    assert_eq!(outcome.header("content-length"), None);
                    assert_ne!(outcome.header("etag"), Some("\"a\""));
                }
            }
        });
    }

    #[test]
    fn a_route_turns_it_off() {
        run(async {
            let off = typed(
                "compressor.v3.CompressorPerRoute",
                json!({ "disabled": true }),
            );
            let route = json!({ "typed_per_filter_config": { "c": off } });
            let outcome = answer(gzip(json!({})), route, &[]).await;
            assert_eq!(outcome.header("content-encoding"), None);
        });
    }
}
