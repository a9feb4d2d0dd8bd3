//! Decompression (`envoy.filters.http.decompressor`) of requests and answers that come in its
//! coding. The trailers that Envoy tells the sizes in are not written.

use super::coding::Decoding;
use super::{Answer, Call, Filter, NoRoute};
use crate::compile::any::Typed;
use crate::compile::basic::{bool_or, runtime_flag};
use crate::compile::pb::filters::http::decompressor::v3 as proto;
use crate::compile::{At, Cx, Error, Result as Compiled};
use crate::http::reply::Reply;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue};
use http_body::Body;

pub struct Decompressor {
    decoding: Decoding,
    requests: Direction,
    answers: Direction,
    /// Upstreams are told that answers may come in the coding.
    advertise: bool,
}

struct Direction {
    enabled: bool,
    /// Also what says `no-transform`.
    ignore_no_transform: bool,
}

impl Decompressor {
    /// Whether a message is to be decoded; its head then says what it is from there on.
    fn takes(&self, direction: &Direction, headers: &mut HeaderMap) -> bool {
        let no_transform = || {
            headers.get_all(CACHE_CONTROL).iter().any(|value| {
                let mut tokens = value.as_bytes().split(|byte| *byte == b',');
                tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
            })
        };
        if !direction.enabled || (!direction.ignore_no_transform && no_transform()) {
            return false;
        }
        let Some(Ok(codings)) = headers.get(CONTENT_ENCODING).map(HeaderValue::to_str) else {
            return false;
        };
        let (first, rest) = match codings.split_once(',') {
            Some((first, rest)) => (first, HeaderValue::from_str(rest.trim()).ok()),
            None => (codings, None),
        };
        if !first.trim().eq_ignore_ascii_case(self.decoding.name()) {
            return false;
        }
        match rest {
            Some(rest) => headers.insert(CONTENT_ENCODING, rest),
            None => headers.remove(CONTENT_ENCODING),
        };
        headers.remove(CONTENT_LENGTH);
        true
    }

    fn advertise(&self, headers: &mut HeaderMap) {
        let name = self.decoding.name();
        let value = match headers.get(ACCEPT_ENCODING).map(HeaderValue::to_str) {
            Some(Ok(known)) if !known.is_empty() => {
                // Once, and as good as any: what the client says of it counts behind us only.
                let of = |token: &str| token.split(';').next().map(str::trim) == Some(name);
                let others = known.split(',').map(str::trim).filter(|token| !of(token));
                let all: Vec<_> = others.chain([name]).collect();
                HeaderValue::from_str(&all.join(",")).ok()
            }
            _ => Some(HeaderValue::from_static(name)),
        };
        if let Some(value) = value {
            headers.insert(ACCEPT_ENCODING, value);
        }
    }
}

impl Filter for Decompressor {
    const CONFIG: &'static str = "envoy.extensions.filters.http.decompressor.v3.Decompressor";
    const ANSWERS: bool = true;
    type Route = NoRoute;
    type State = ();

    fn compile(typed: Typed, _stat_prefix: &str, _cx: &mut Cx<'_>) -> Compiled<Self> {
        use proto::decompressor::{RequestDirectionConfig, ResponseDirectionConfig};
        let proto::Decompressor {
            decompressor_library,
            request_direction_config,
            response_direction_config,
        } = typed.decode()?;
        let decoding = decompressor_library
            .ok_or_else(|| Error::new("is required"))
            .and_then(Decoding::compile)
            .at("decompressor_library")?;
        let RequestDirectionConfig {
            common_config: requests,
            advertise_accept_encoding,
        } = request_direction_config.unwrap_or_default();
        let ResponseDirectionConfig {
            common_config: answers,
        } = response_direction_config.unwrap_or_default();
        Ok(Self {
            decoding,
            requests: direction(requests),
            answers: direction(answers),
            advertise: bool_or(advertise_accept_encoding, true),
        })
    }

    async fn request(&self, _route: Option<&NoRoute>, call: &mut Call<'_>) -> Result<(), Reply> {
        let headers = &mut call.head.headers;
        if self.answers.enabled && self.advertise {
            self.advertise(headers);
        }
        if !call.body.is_end_stream() && self.takes(&self.requests, headers) {
            call.body.recode(self.decoding.start());
        }
        Ok(())
    }

    fn response(&self, _route: Option<&NoRoute>, _state: Option<()>, answer: &mut Answer<'_>) {
        let response = &mut *answer.response;
        let body = response.body();
        if !body.is_end_stream()
            && !body.is_tunnel()
            && self.takes(&self.answers, response.headers_mut())
        {
            response.body_mut().recode(self.decoding.start());
        }
    }
}

fn direction(value: Option<proto::decompressor::CommonDirectionConfig>) -> Direction {
    let proto::decompressor::CommonDirectionConfig {
        enabled,
        ignore_no_transform_header,
    } = value.unwrap_or_default();
    Direction {
        enabled: runtime_flag(enabled),
        ignore_no_transform: ignore_no_transform_header,
    }
}

#[cfg(test)]
mod tests {
    use crate::http::filters::testkit::{Bench, filter};
    use crate::http::testkit::{request, run};
    use serde_json::{Value, json};

    fn library(kind: &str) -> Value {
        let kind = format!("type.googleapis.com/envoy.extensions.compression.{kind}");
        json!({ "name": "l", "typed_config": { "@type": kind } })
    }

    #[test]
    fn an_answer_comes_out_as_it_went_in() {
        run(async {
            let compressor = json!({ "compressor_library": library("zstd.compressor.v3.Zstd") });
            let compressor = filter("c", "compressor.v3.Compressor", compressor);
            let decompressor =
                json!({ "decompressor_library": library("zstd.decompressor.v3.Zstd") });
            let decompressor = filter("d", "decompressor.v3.Decompressor", decompressor);
            // Answers meet the last filter first.
            let bench = Bench::new(json!([decompressor, compressor]), json!({})).unwrap();
            let text: String = (0..5000).map(|n| format!("{n} ")).collect();
            let mut answer = http::Response::new(&*text);
            let kind = "text/plain".parse().unwrap();
            answer.headers_mut().insert("content-type", kind);
            let asked = request("GET", "/").header("accept-encoding", "gzip");
            let outcome = bench.call(asked, answer).await;
            assert_eq!(outcome.passed_header("accept-encoding"), Some("gzip,zstd"));
            assert_eq!(outcome.header("content-encoding"), None);
            assert_eq!(outcome.header("vary"), Some("Accept-Encoding"));
            assert!(outcome.body == text);
        });
    }
}
