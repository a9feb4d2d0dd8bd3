//! Heads and bodies as they are sent. What is written of a message's length is what is
//! kept: a head's own `Content-Length` and `Transfer-Encoding` lines are replaced by what
//! the body is.

use super::Fault;
use super::framing::{self, bodiless};
use super::output::Output;
use super::spelling::{Spelling, Style};
use crate::http::codec::{SwitchTo, date};
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode, request, response};
use http_body::Body;
use std::io::Write;

/// What remains to be sent of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Encoder {
    Length(u64),
    Chunked,
    UntilClose,
    /// Whatever the body is, it is not sent.
    Nothing,
}

/// What an answer depends on besides itself.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub head: bool,
    pub connect: bool,
    pub http10: bool,
    /// The client wants the connection to go on.
    pub keeps: bool,
}

/// How long a body is.
enum Size {
    None,
    Exact(u64),
    Unknown,
}

impl Size {
    fn of(body: &impl Body) -> Self {
        match body.size_hint().exact() {
            _ if body.is_end_stream() => Self::None,
            Some(length) => Self::Exact(length),
            None => Self::Unknown,
        }
    }
}

/// Writes a request's head.
pub(super) fn request(
    parts: &request::Parts,
    body: &impl Body,
    proper: bool,
    out: &mut Vec<u8>,
) -> Encoder {
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    let target = match parts.uri.authority() {
        Some(authority) if parts.method == Method::CONNECT => authority.as_str(),
        _ => parts.uri.path_and_query().map_or("/", |path| path.as_str()),
    };
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let style = Style {
        kept: parts.extensions.get::<Spelling>(),
        proper,
    };
    fields(&parts.headers, style, out);
    let switches = parts.method == Method::CONNECT || parts.extensions.get::<SwitchTo>().is_some();
    let encoder = match Size::of(body) {
        Size::Unknown if switches => Encoder::UntilClose,
        Size::None if !parts.headers.contains_key(CONTENT_LENGTH) => Encoder::Nothing,
        Size::None => Encoder::Length(0),
        Size::Exact(length) => Encoder::Length(length),
        Size::Unknown => stated(&parts.headers).map_or(Encoder::Chunked, Encoder::Length),
    };
    encoder.announce(style, out);
    out.extend_from_slice(b"\r\n");
    encoder
}

/// Writes an answer's head. `keeps`: the connection goes on after it.
pub(super) fn response(
    parts: &response::Parts,
    body: &impl Body,
    asked: Asked,
    keeps: bool,
    proper: bool,
    out: &mut Vec<u8>,
) -> Encoder {
    let status = parts.status;
    let style = Style {
        kept: parts.extensions.get::<Spelling>(),
        proper,
    };
    let method = if asked.connect {
        Method::CONNECT
    } else {
        Method::GET
    };
    let bodiless = bodiless(&method, status);
    let switched =
        status == StatusCode::SWITCHING_PROTOCOLS || asked.connect && status.is_success();
    let encoder = match Size::of(body) {
        Size::Unknown if switched => Encoder::UntilClose,
        _ if asked.head || bodiless => Encoder::Nothing,
        Size::None => Encoder::Length(0),
        Size::Exact(length) => Encoder::Length(length),
        Size::Unknown => match stated(&parts.headers) {
            Some(length) => Encoder::Length(length),
            None if asked.http10 => Encoder::UntilClose,
            None => Encoder::Chunked,
        },
    };
    status_line(status, asked.http10, out);
    let said = fields(&parts.headers, style, out);
    if asked.head
        && !bodiless
        && let Some(length) = stated(&parts.headers)
    {
        Encoder::Length(length).announce(style, out);
    }
    encoder.announce(style, out);
    if switched {
        // What follows is no HTTP: its `Connection`, if any, names the protocol.
    } else if !keeps || encoder == Encoder::UntilClose {
        if !said.close {
            line(&CONNECTION, b"close", style, out);
        }
    } else if asked.http10 {
        line(&CONNECTION, b"keep-alive", style, out);
    }
    if !said.date {
        date::with(|date| line(&DATE, date.as_bytes(), style, out));
    }
    out.extend_from_slice(b"\r\n");
    encoder
}

fn status_line(status: StatusCode, http10: bool, out: &mut Vec<u8>) {
    if status == StatusCode::OK && !http10 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(if http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    let reason = status.canonical_reason().unwrap_or("Unknown");
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// What lines were written.
#[derive(Default)]
struct Said {
    close: bool,
    date: bool,
}

/// Writes all lines but those of the length.
fn fields(headers: &HeaderMap, style: Style<'_>, out: &mut Vec<u8>) -> Said {
    let mut said = Said::default();
    for (name, value) in headers {
        match *name {
            CONTENT_LENGTH | TRANSFER_ENCODING => continue,
            CONNECTION => said.close |= value.as_bytes().eq_ignore_ascii_case(b"close"),
            DATE => said.date = true,
            _ => {}
        }
        line(name, value.as_bytes(), style, out);
    }
    said
}

fn line(name: &HeaderName, value: &[u8], style: Style<'_>, out: &mut Vec<u8>) {
    style.write(name, out);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The length that a head tells.
fn stated(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(CONTENT_LENGTH)?;
    framing::length(value.as_bytes()).ok()
}

impl Encoder {
    fn announce(&self, style: Style<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Length(length) => {
                style.write(&CONTENT_LENGTH, out);
                // Writing to a vector does not fail.
                let _ = write!(out, ": {length}\r\n");
            }
            Self::Chunked => line(&TRANSFER_ENCODING, b"chunked", style, out),
            Self::UntilClose | Self::Nothing => {}
        }
    }

    pub fn is_until_close(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// Nothing of the body is to be sent any more.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Nothing)
    }

    /// Puts data in `out`; `last`: no more will come.
    pub fn data(&mut self, data: Bytes, last: bool, out: &mut Output) -> Result<(), Fault> {
        match self {
            Self::Nothing => {}
            Self::UntilClose => out.data(data, b""),
            Self::Length(left) => {
                *left = left
                    .checked_sub(data.len() as u64)
                    .ok_or(Fault::Body("the body is longer than was said"))?;
                out.data(data, b"");
            }
            // An empty chunk would be the end.
            Self::Chunked if data.is_empty() => {}
            Self::Chunked => {
                let _ = write!(out.buffer(), "{:x}\r\n", data.len());
                out.data(data, if last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
                if last {
                    *self = Self::Nothing;
                }
            }
        }
        Ok(())
    }

    /// The body has ended.
    pub fn end(&mut self, trailers: Option<&HeaderMap>, out: &mut Output) -> Result<(), Fault> {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing | Self::UntilClose | Self::Length(0) => Ok(()),
            Self::Length(_) => Err(Fault::Body("the body is shorter than was said")),
            Self::Chunked => {
                let out = out.buffer();
                out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    if may_trail(name) {
                        line(name, value.as_bytes(), Style::default(), out);
                    }
                }
                out.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}

/// Not what says where messages end or go (RFC 9110 6.5.1).
fn may_trail(name: &HeaderName) -> bool {
    ![
        CONNECTION,
        CONTENT_LENGTH,
        HOST,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ]
    .contains(name)
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
