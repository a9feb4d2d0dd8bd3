//! Connections to upstreams.

use super::Error;
use super::http2::Reason;
use crate::http::body::RequestBody;
use http::Request;

/// Header lines of a response (Envoy: 100).
pub(super) const MAX_HEADERS: usize = 128;
/// Bytes of a response's header block (as Envoy 1.40).
pub(super) const MAX_HEADER_BYTES: usize = 80 * 1024;

/// Why no response came.
pub(crate) struct SendError {
    pub error: Error,
    /// No byte of the request was written: sending it again elsewhere is safe. The request
    /// comes back for that.
    pub unsent: Option<Box<Request<RequestBody>>>,
}

impl SendError {
    /// The peer refused the stream before doing anything with it.
    pub fn refused(&self) -> bool {
        self.error.reason() == Some(Reason::REFUSED_STREAM)
    }

    /// The connection ended, as opposed to a reset of this stream alone.
    pub fn connection_ended(&self) -> bool {
        self.error.is_of_connection()
    }
}
