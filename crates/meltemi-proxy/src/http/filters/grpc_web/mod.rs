//! gRPC-Web (`envoy.filters.http.grpc_web`): clients that see no trailers, as browsers, get
//! them as the last frame of the body, and clients that cannot send bytes send and get base64.
//!
//! What is no answer of gRPC tells its status, and its body as the message. An answer of the
//! proxy's own does so in headers, as in Envoy; that of an upstream, whose body is still to
//! come, in the last frame.

mod coder;

pub(crate) use coder::{Decoder, Encoder};

use super::{Answer, Call, Coder, Filter, NoRoute};
use crate::compile::any::Typed;
use crate::compile::pb::filters::http::grpc_web::v3 as proto;
use crate::compile::{Cx, Result as Compiled};
use crate::http::reply::Reply;
use crate::http::{grpc, names};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body;

const BINARY: [&[u8]; 2] = [b"application/grpc-web", b"application/grpc-web+proto"];
const TEXT: [&[u8]; 2] = [
    b"application/grpc-web-text",
    b"application/grpc-web-text+proto",
];

pub struct GrpcWeb;

/// What a client of gRPC-Web asked for.
pub(crate) struct Asked {
    /// The answer in base64.
    text: bool,
}

fn is_one_of(value: Option<&HeaderValue>, types: &[&[u8]]) -> bool {
    value.is_some_and(|value| types.contains(&value.as_bytes()))
}

impl Filter for GrpcWeb {
    const CONFIG: &'static str = "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb";
    const ANSWERS: bool = true;
    type Route = NoRoute;
    type State = Option<Asked>;

    fn compile(typed: Typed, _stat_prefix: &str, _cx: &mut Cx<'_>) -> Compiled<Self> {
        let proto::GrpcWeb {} = typed.decode()?;
        Ok(Self)
    }

    async fn request(
        &self,
        _route: Option<&NoRoute>,
        call: &mut Call<'_>,
    ) -> Result<Option<Asked>, Reply> {
        let headers = &mut call.head.headers;
        let kind = headers.get(CONTENT_TYPE);
        let text = is_one_of(kind, &TEXT);
        if !text && !is_one_of(kind, &BINARY) {
            return Ok(None);
        }
        let asked = Asked {
            text: is_one_of(headers.get(ACCEPT), &TEXT),
        };
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, names::GRPC.clone());
        headers.insert(TE, names::TRAILERS.clone());
        if !headers.contains_key(&names::GRPC_ACCEPT_ENCODING) {
            let identity = HeaderValue::from_static("identity");
            headers.insert(names::GRPC_ACCEPT_ENCODING.clone(), identity);
        }
        if text && !call.body.is_end_stream() {
            call.body.recode(Coder::Base64Decode(Decoder::default()));
        }
        // The account is one of gRPC, and the trailers go on to here whatever the client speaks.
        let record = &call.exchange.record;
        record.info.borrow_mut().grpc = true;
        record.keeps_trailers.set(true);
        Ok(Some(asked))
    }

    fn response(
        &self,
        _route: Option<&NoRoute>,
        state: Option<Option<Asked>>,
        answer: &mut Answer<'_>,
    ) {
        let Some(Some(asked)) = state else {
            return;
        };
        let response = &mut *answer.response;
        let ends = response.body().is_end_stream();
        let is_grpc = is_answer_of_grpc(response);
        let (status, headers) = (response.status(), response.headers_mut());
        headers.remove(CONTENT_LENGTH);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(match asked.text {
                true => "application/grpc-web-text+proto",
                false => "application/grpc-web+proto",
            }),
        );
        if ends {
            return;
        }
        if is_grpc {
            let encoder = Encoder::frames(asked.text);
            return response.body_mut().recode(Coder::GrpcWebEncode(encoder));
        }
        match response.body_mut().take_text() {
            Some(text) => {
                let text = String::from_utf8_lossy(&text);
                let headers = response.headers_mut();
                headers.insert(CONTENT_LENGTH, names::ZERO.clone());
                tell(status, &text, headers);
            }
            None => {
                let encoder = Encoder::message(asked.text, status);
                response.body_mut().recode(Coder::GrpcWebEncode(encoder));
            }
        }
    }
}

/// Puts the status that gRPC has for an answer of HTTP in headers or trailers, and its text as
/// the message.
fn tell(status: StatusCode, text: &str, headers: &mut HeaderMap) {
    let code = grpc::status_of(status);
    headers.insert(names::GRPC_STATUS.clone(), code.into());
    headers.insert(names::GRPC_MESSAGE.clone(), grpc::message(text));
}

/// An answer of gRPC or gRPC-Web, whose body is made of frames.
fn is_answer_of_grpc<B>(response: &Response<B>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.map_or(&b""[..], HeaderValue::as_bytes);
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    let web = BINARY
        .iter()
        .any(|web| kind.trim_ascii_end().eq_ignore_ascii_case(web));
    response.status() == StatusCode::OK && (web || grpc::is_grpc(response.headers()))
}

#[cfg(test)]
mod tests {
    use super::super::testkit::{Bench, filter};
    use http::{Request, Response};
    use serde_json::json;

    fn bench() -> Bench {
        let web = filter("web", "grpc_web.v3.GrpcWeb", json!({}));
        Bench::new(json!([web]), json!({})).unwrap()
    }

    fn post(kind: &str) -> http::request::Builder {
        Request::post("/")
            .header("host", "a")
            .header("content-type", kind)
    }

    #[tokio::test]
    async fn requests_become_grpc() {
        for kind in ["application/grpc-web", "application/grpc-web-text+proto"] {
            let got = bench().ask(post(kind)).await;
            assert_eq!(got.passed_header("content-type"), Some("application/grpc"));
            assert_eq!(got.passed_header("te"), Some("trailers"));
            assert_eq!(got.passed_header("grpc-accept-encoding"), Some("identity"));
        }
        for kind in [
            "application/grpc",
            "application/grpc-web+json",
            "text/plain",
        ] {
            let got = bench().ask(post(kind)).await;
            assert_eq!(got.passed_header("content-type"), Some(kind));
            assert_eq!(got.passed_header("te"), None);
        }
    }

    #[tokio::test]
    async fn answers_are_in_the_coding_that_is_accepted() {
        let frame = "\0\0\0\0\u{2}hi";
        let answer = || {
            Response::builder()
                .header("content-type", "application/grpc")
                .header("content-length", "7")
                .body(frame)
                .unwrap()
        };
        let got = bench().call(post("application/grpc-web"), answer()).await;
        assert_eq!(
            got.header("content-type"),
            Some("application/grpc-web+proto")
        );
        assert_eq!(got.header("content-length"), None);
        assert_eq!(got.body, frame);
        let asks = post("application/grpc-web").header("accept", "application/grpc-web-text");
        let got = bench().call(asks, answer()).await;
        assert_eq!(
            got.header("content-type"),
            Some("application/grpc-web-text+proto")
        );
        assert_eq!(got.body, "AAAAAAJoaQ==");
    }

    #[tokio::test]
    async fn what_is_no_grpc_becomes_a_status_and_a_message() {
        let answer = Response::builder().status(503).body("down\n").unwrap();
        let got = bench().call(post("application/grpc-web"), answer).await;
        assert_eq!((got.status, got.body.as_str()), (503, ""));
        assert_eq!(got.header("grpc-status"), Some("14"));
        assert_eq!(got.header("grpc-message"), Some("down%0A"));
    }
}
