//! gRPC over HTTP: what is gRPC, its status, its messages, and answers of our own.

use super::names;
use http::{HeaderMap, HeaderValue, StatusCode};

/// `application/grpc` or `application/grpc+...`.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'+')
}

pub(crate) fn status(headers: &HeaderMap) -> Option<u32> {
    headers
        .get(&names::GRPC_STATUS)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// gRPC status for an HTTP status (gRPC's http-grpc-status-mapping, as Envoy).
pub(crate) fn status_of(status: StatusCode) -> u32 {
    match status.as_u16() {
        200 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// HTTP status for a gRPC status (Envoy's `Grpc::Utility::grpcToHttpStatus`).
pub(crate) fn http_of(status: u32) -> StatusCode {
    match status {
        0 => StatusCode::OK,
        1 => StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        3 | 9 | 11 => StatusCode::BAD_REQUEST,
        4 => StatusCode::GATEWAY_TIMEOUT,
        5 => StatusCode::NOT_FOUND,
        6 | 10 => StatusCode::CONFLICT,
        7 => StatusCode::FORBIDDEN,
        8 => StatusCode::TOO_MANY_REQUESTS,
        12 => StatusCode::NOT_IMPLEMENTED,
        14 => StatusCode::SERVICE_UNAVAILABLE,
        16 => StatusCode::UNAUTHORIZED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// `grpc-message`, percent-encoded as the protocol demands.
pub(crate) fn message(text: &str) -> HeaderValue {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    HeaderValue::from_str(&out).unwrap_or(HeaderValue::from_static(""))
}

/// The time that `grpc-timeout` allows; `None` when the value is malformed.
pub(crate) fn timeout(value: &HeaderValue) -> Option<std::time::Duration> {
    use std::time::Duration;
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Counts the length-prefixed messages in a body that comes in pieces.
#[derive(Default)]
pub(crate) struct MessageCounter {
    /// Bytes of the 5-byte prefix seen so far, and the length they tell.
    prefix: u8,
    length: u32,
    left: u32,
}

impl MessageCounter {
    /// Number of messages that begin in `data`.
    pub fn count(&mut self, mut data: &[u8]) -> u64 {
        let mut messages = 0;
        while let Some(&byte) = data.first() {
            if self.left > 0 {
                let used = (self.left as usize).min(data.len());
                self.left -= used as u32;
                data = &data[used..];
                continue;
            }
            if self.prefix > 0 {
                self.length = self.length << 8 | u32::from(byte);
            }
            self.prefix += 1;
            data = &data[1..];
            if self.prefix == 5 {
                messages += 1;
                self.left = std::mem::take(&mut self.length);
                self.prefix = 0;
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn messages_are_counted_across_pieces() {
        let body = [
            0, 0, 0, 0, 2, b'h', b'i', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'x',
        ];
        assert_eq!(MessageCounter::default().count(&body), 3);
        let mut counter = MessageCounter::default();
        let pieces: u64 = body.chunks(1).map(|piece| counter.count(piece)).sum();
        assert_eq!(pieces, 3);
    }

    #[test]
    fn timeouts_have_units() {
        let parse = |text| timeout(&HeaderValue::from_static(text));
        assert_eq!(parse("10S"), Some(Duration::from_secs(10)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("10"), None);
        assert_eq!(parse("123456789S"), None);
        assert_eq!(parse(""), None);
    }
}
