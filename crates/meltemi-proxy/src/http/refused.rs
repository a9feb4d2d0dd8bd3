//! Requests that never became an exchange: the codec refused them.

use super::downstream::Downstream;
use super::record::Record;
use crate::telemetry::{Flags, Protocol};
use std::rc::Rc;

/// Sent when a head takes too long to arrive.
pub(crate) const HEAD_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
content-length: 22\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nrequest header timeout";

pub(crate) fn head_timeout(downstream: &Rc<Downstream>) {
    report(downstream, 408, Flags::default(), "request_header_timeout");
}

/// hyper has answered the client; the log tells why.
pub(crate) fn codec_error(
    downstream: &Rc<Downstream>,
    error: &hyper::Error,
    framing: Option<&'static str>,
) {
    tracing::debug!(%error, framing, id = downstream.info.id, "malformed request");
    let status = if error.is_parse_too_large() { 431 } else { 400 };
    let details = match (status, framing) {
        (431, _) => "http1.headers_too_large",
        (_, Some(_)) => "http1.invalid_framing",
        _ => "http1.codec_error",
    };
    report(
        downstream,
        status,
        Flags::DOWNSTREAM_PROTOCOL_ERROR,
        details,
    );
}

fn report(downstream: &Rc<Downstream>, status: u16, flags: Flags, details: &'static str) {
    let record = Record::new(downstream.clone(), Protocol::Http11);
    {
        let mut info = record.info.borrow_mut();
        info.status = status;
        info.flags = flags;
        info.details = details;
    }
    record.finish();
}
