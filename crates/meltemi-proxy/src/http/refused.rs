//! Requests that never became an exchange: the codec refused them.

use super::codec::Error;
use super::downstream::Downstream;
use super::record::Record;
use crate::telemetry::{Flags, Protocol};
use std::rc::Rc;

/// A head took too long to arrive: what the client is told.
pub(crate) fn head_timeout(downstream: &Rc<Downstream>) -> Vec<u8> {
    let (status, text) = ("408 Request Timeout", "request header timeout");
    let record = record(downstream, 408, Flags::default(), "request_header_timeout");
    last_answer(&record, status, text)
}

/// The process is overloaded: what the client is told.
pub(crate) fn aborted(downstream: &Rc<Downstream>) -> Vec<u8> {
    downstream.stats.rq_overload_close.inc();
    let (status, text) = ("500 Internal Server Error", "Internal Server Error");
    let flags = Flags::DOWNSTREAM_PROTOCOL_ERROR;
    let record = record(downstream, 500, flags, "overload");
    last_answer(&record, status, text)
}

fn last_answer(record: &Record, status: &str, text: &str) -> Vec<u8> {
    record.info.borrow_mut().bytes_sent = text.len() as u64;
    record.finish();
    let server = record.downstream.server_name.to_str().unwrap_or_default();
    let length = text.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\
         content-type: text/plain\r\nserver: {server}\r\nconnection: close\r\n\r\n{text}"
    )
    .into_bytes()
}

/// The codec has answered the client; the log tells why.
pub(crate) fn codec_error(
    downstream: &Rc<Downstream>,
    error: &Error,
    framing: Option<&'static str>,
) {
    tracing::debug!(%error, framing, id = downstream.info.id, "malformed request");
    let status = if matches!(error, Error::TooLarge) {
        431
    } else {
        400
    };
    let details = match (status, framing) {
        (431, _) => "http1.headers_too_large",
        (_, Some(_)) => "http1.invalid_framing",
        _ => "http1.codec_error",
    };
    let flags = Flags::DOWNSTREAM_PROTOCOL_ERROR;
    record(downstream, status, flags, details).finish();
}

fn record(
    downstream: &Rc<Downstream>,
    status: u16,
    flags: Flags,
    details: &'static str,
) -> Rc<Record> {
    let record = Record::new(downstream.clone(), Protocol::Http11);
    {
        let mut info = record.info.borrow_mut();
        info.status = status;
        info.flags = flags;
        info.details = details.into();
    }
    record
}
