//! What fuzz targets see of requests and bodies: the product's own functions, on values that
//! need no connection.

use super::filters::{GrpcWebDecoder, GrpcWebEncoder, Step, Until};
use super::head::Head;
use super::{grpc, header_ops, path, rewrite};
use crate::model::{HeaderOps, PathMatch, PathNormalization, PathRewrite};
use crate::telemetry::{Protocol, StreamInfo};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::cell::RefCell;

/// A request for this authority after the operations of each level.
pub fn edit_request(
    levels: &[&HeaderOps],
    authority: HeaderValue,
    headers: HeaderMap,
    info: StreamInfo,
) -> (HeaderValue, HeaderMap) {
    let mut head = Head {
        method: Method::GET,
        authority,
        path: PathAndQuery::from_static("/"),
        scheme: "http",
        headers,
        upgrade: None,
        expects_continue: false,
        protocol: Protocol::Http11,
        spelling: None,
        internal: false,
    };
    let info = RefCell::new(info);
    for ops in levels {
        header_ops::request(ops, &mut head, &info);
    }
    (head.authority, head.headers)
}

/// An answer after the operations of each level.
pub fn edit_response(levels: &[&HeaderOps], mut headers: HeaderMap, info: StreamInfo) -> HeaderMap {
    let info = RefCell::new(info);
    for ops in levels {
        header_ops::response(ops, &mut headers, &info);
    }
    headers
}

/// # Errors
/// The status of the refusal or redirect, and where the latter leads.
pub fn normalize(
    options: PathNormalization,
    mut path: PathAndQuery,
) -> Result<PathAndQuery, (StatusCode, Option<PathAndQuery>)> {
    match path::normalize(options, &mut path) {
        Ok(()) => Ok(path),
        Err(reply) => Err((reply.status, reply.status.is_redirection().then_some(path))),
    }
}

/// The path that is sent on; `None`: as it came.
pub fn rewritten(
    rewrite: &PathRewrite,
    matched: &PathMatch,
    path: &PathAndQuery,
) -> Option<PathAndQuery> {
    rewrite::rewritten(rewrite, matched, path)
}

/// The messages of gRPC that begin in a body of these pieces.
pub fn grpc_messages(pieces: &[&[u8]]) -> u64 {
    let mut counter = grpc::MessageCounter::default();
    pieces.iter().map(|piece| counter.count(piece)).sum()
}

/// The body of a gRPC-Web client that sends base64, with so much room for output at a time;
/// `None`: it is malformed.
pub fn grpc_web_decode(pieces: &[&[u8]], room: usize) -> Option<Vec<u8>> {
    let mut decoder = GrpcWebDecoder::default();
    coded(pieces, room, |input, output, until| {
        decoder.step(input, output, until).ok()
    })
}

/// The body of an answer to such a client. `text`: in base64; `status`: of an answer that is
/// no gRPC, whose body becomes the message.
pub fn grpc_web_encode(
    text: bool,
    status: Option<StatusCode>,
    pieces: &[&[u8]],
    trailers: Option<HeaderMap>,
    room: usize,
) -> Vec<u8> {
    let mut encoder = match status {
        None => GrpcWebEncoder::frames(text),
        Some(status) => GrpcWebEncoder::message(text, status),
    };
    if let Some(trailers) = trailers {
        encoder.keep(trailers);
    }
    coded(pieces, room, |input, output, until| {
        Some(encoder.step(input, output, until))
    })
    .unwrap_or_default()
}

fn coded(
    pieces: &[&[u8]],
    room: usize,
    mut step: impl FnMut(&[u8], &mut [u8], Until) -> Option<Step>,
) -> Option<Vec<u8>> {
    let (mut out, mut buffer) = (Vec::new(), vec![0; room]);
    let flushed = pieces.iter().map(|piece| (*piece, Until::Flushed));
    for (mut piece, until) in flushed.chain([(&b""[..], Until::Ended)]) {
        loop {
            let done = step(piece, &mut buffer, until)?;
            piece = &piece[done.read..];
            out.extend_from_slice(&buffer[..done.written]);
            if done.done {
                break;
            }
            assert!(done.read + done.written > 0, "a step without progress");
        }
        assert!(piece.is_empty(), "input is left");
    }
    Some(out)
}
