//! What a head's lines say of its message's end and of the connection (RFC 9112 6 and 9).
//!
//! A parser that is lenient where another on the way is strict is what request smuggling
//! lives on: one `Content-Length` that is a number, or one `Transfer-Encoding` that is
//! `chunked`, never both, in requests and answers alike (Envoy refuses them, too).

use super::{Decoder, Fault};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, Method, StatusCode, Version};

/// What the header lines so far say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing {
    length: Option<u64>,
    chunked: bool,
    host: bool,
    /// The options of `Connection`.
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    /// There is an `Upgrade` header.
    names_upgrade: bool,
    /// `Expect: 100-continue`.
    expects_continue: bool,
}

impl Framing {
    /// Takes a header line in. `request`: a second `Host` is refused (RFC 9112 3.2).
    pub fn note(&mut self, name: &HeaderName, value: &[u8], request: bool) -> Result<(), Fault> {
        match *name {
            HOST if request => {
                let another = std::mem::replace(&mut self.host, true);
                if another {
                    return Err(Fault::Framing("more than one host"));
                }
            }
            CONTENT_LENGTH => {
                if self.length.is_some() {
                    return Err(Fault::Framing("more than one content-length"));
                }
                self.length = Some(length(value)?);
            }
            TRANSFER_ENCODING => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::Framing("unsupported transfer-encoding"));
                }
                self.chunked = true;
            }
            CONNECTION => {
                for option in value.split(|byte| *byte == b',') {
                    let option = option.trim_ascii();
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            UPGRADE => self.names_upgrade = true,
            EXPECT => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        if self.chunked && self.length.is_some() {
            return Err(Fault::Framing("content-length next to transfer-encoding"));
        }
        Ok(())
    }

    /// Whether the sender wants the connection to go on (RFC 9112 9.3).
    pub fn keeps(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }

    /// Whether the client waits for 100 (Continue). HTTP/1.0 knows nothing of it.
    pub fn expects_continue(&self, version: Version) -> bool {
        self.expects_continue && version == Version::HTTP_11
    }

    /// Whether the client asks for another protocol (RFC 9110 7.8). HTTP/1.0 knows nothing of
    /// it, and with a body it is not clear where the other protocol begins.
    pub fn switches(&self, version: Version) -> bool {
        let has_body = self.chunked || self.length.is_some_and(|length| length > 0);
        self.names_upgrade && self.upgrade && version == Version::HTTP_11 && !has_body
    }

    pub fn of_request(&self, version: Version) -> Result<Decoder, Fault> {
        Ok(match self.stated(version)? {
            Some(decoder) => decoder,
            None => Decoder::length(0),
        })
    }

    /// `method` is the request's.
    pub fn of_response(
        &self,
        method: &Method,
        status: StatusCode,
        version: Version,
    ) -> Result<Decoder, Fault> {
        let stated = self.stated(version)?;
        if *method == Method::HEAD || bodiless(method, status) {
            return Ok(Decoder::length(0));
        }
        Ok(stated.unwrap_or_else(Decoder::until_close))
    }

    fn stated(&self, version: Version) -> Result<Option<Decoder>, Fault> {
        if self.chunked && version == Version::HTTP_10 {
            return Err(Fault::Framing("transfer-encoding in HTTP/1.0"));
        }
        Ok(match self.chunked {
            true => Some(Decoder::chunked()),
            false => self.length.map(Decoder::length),
        })
    }
}

/// Whether an answer has neither a body nor a length (RFC 9110 6.4.1 and 8.6), whatever its
/// headers say; an answer to HEAD may tell a length.
pub(super) fn bodiless(method: &Method, status: StatusCode) -> bool {
    status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || *method == Method::CONNECT && status.is_success()
}

/// The number that `Content-Length` says: digits and nothing else.
pub(super) fn length(value: &[u8]) -> Result<u64, Fault> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .ok_or(Fault::Framing("invalid content-length"))
}
