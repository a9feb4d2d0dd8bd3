//! The codec seam: everything that knows how bytes become messages is in this folder.
//!
//! The rest of `http` sees heads as `http::{Request, Response}`, bodies as the enums of
//! `http::body`, and the few operations of [`client`] and [`server`]. Each protocol has a
//! folder; none needs a `dyn` on the way of a request.

pub(crate) mod client;
mod date;
mod error;
mod http1;
mod http2;
pub(crate) mod server;
mod timers;

pub(crate) use error::Error;
#[cfg(fuzzing)]
pub use http1::transcript;
pub(crate) use http1::{Http1Client, Opaque};
pub(crate) use http2::Http2Client;
#[cfg(fuzzing)]
pub use http2::{Own as Http2Settings, replay};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The protocol that a request wants to switch to, in lower case: among its extensions, as
/// they come from the codec of the client and go to that of the upstream. HTTP/1.1 says it by
/// `Upgrade`, HTTP/2 by extended CONNECT (RFC 8441); in between, such a request is a GET, and
/// the answer that accepts it a 101.
#[derive(Clone)]
pub(crate) struct SwitchTo(pub HeaderValue);

/// A body on its way out.
pub(crate) trait Outgoing: Body<Data = Bytes> + Unpin {
    /// While the peer takes nothing of it: ready when it has waited for too long.
    fn poll_stalled(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// The body of a received message.
pub(crate) enum Incoming {
    Http1(http1::Incoming),
    Http2(http2::Incoming),
}

impl Incoming {
    /// From here on it is what comes on the connection, whatever that is: the answer accepts
    /// CONNECT or an upgrade. A stream of HTTP/2 is that already.
    pub fn begin_tunnel(&mut self) {
        if let Self::Http1(body) = self {
            body.begin_tunnel();
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Error::from),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
