//! A request's body on its way to the router: as it comes from the client, or as filters left it.

use super::codec::{Error, Incoming};
use super::filters::{Coder, Trailing};
use super::record::Record;
use super::stage::{Failed, Stage};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pub(crate) enum RequestSource {
    Client(Incoming),
    /// Of a request to switch protocols: no filter has anything to read. `open` since the
    /// upstream has accepted.
    Tunnel {
        body: Incoming,
        open: bool,
    },
    /// Read in full by a filter.
    Read {
        chunks: VecDeque<Bytes>,
        trailers: Option<HeaderMap>,
    },
    Recoded(Box<Self>, Box<Stage>),
}

/// Why a body could not be read in full.
#[derive(Debug)]
pub(crate) enum ReadError {
    TooLong,
    /// The client broke it off.
    Broken,
}

impl RequestSource {
    /// Reads a frame, and accounts for what comes from the client.
    pub fn poll_frame(
        &mut self,
        record: &Record,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let body = match self {
            Self::Client(body) => body,
            Self::Tunnel { body, open } => {
                if !std::mem::replace(open, true) {
                    body.begin_tunnel();
                }
                body
            }
            Self::Recoded(source, stage) => {
                let frame = ready!(stage.poll(cx, |cx| source.poll_frame(record, cx)));
                return Poll::Ready(frame.map(|frame| {
                    frame.map_err(|error| match error {
                        Failed::Source(error) => error,
                        Failed::Malformed(error) => Error::Malformed(error.to_string().into()),
                    })
                }));
            }
            Self::Read { chunks, trailers } => {
                let data = chunks.pop_front().map(Frame::data);
                let frame = data.or_else(|| trailers.take().map(Frame::trailers));
                return Poll::Ready(frame.map(Ok));
            }
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            record.touch();
            let length = frame.data_ref().map_or(0, Bytes::len);
            record.info.borrow_mut().bytes_received += length as u64;
        }
        if frame.is_none() || body.is_end_stream() {
            record.request_ended();
            if let Self::Tunnel { .. } = self {
                record.tunnel_ended();
            }
        }
        Poll::Ready(frame)
    }

    /// The body; what is left is empty.
    pub fn take(&mut self) -> Self {
        let nothing = Self::Read {
            chunks: VecDeque::new(),
            trailers: None,
        };
        std::mem::replace(self, nothing)
    }

    /// Recodes what is still to come.
    pub fn recode(&mut self, coder: Coder) {
        if let Self::Tunnel { .. } = self {
            return;
        }
        *self = Self::Recoded(Box::new(self.take()), Box::new(Stage::new(coder)));
    }

    /// Has the trailers changed, if any come: they follow a body that is not over where its
    /// length says so.
    pub fn trail(&mut self, trailing: Trailing) {
        match self {
            Self::Read {
                trailers: Some(trailers),
                ..
            } => trailing.change(trailers),
            _ if self.length().is_none() => self.recode(Coder::Trailers(trailing)),
            _ => {}
        }
    }

    /// Reads all of it, up to `limit` bytes, and keeps it in the place of the client's.
    pub async fn read(&mut self, record: &Record, limit: u64) -> Result<(), ReadError> {
        if let Self::Tunnel { .. } = self {
            return Ok(());
        }
        let mut read = VecDeque::new();
        let (mut length, mut trailers) = (0, None);
        while !self.is_end_stream() {
            let frame = std::future::poll_fn(|cx| self.poll_frame(record, cx)).await;
            let Some(frame) = frame else {
                break;
            };
            match frame.map_err(|_| ReadError::Broken)?.into_data() {
                Ok(data) => {
                    length += data.len() as u64;
                    if length > limit {
                        return Err(ReadError::TooLong);
                    }
                    read.push_back(data);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        *self = Self::Read {
            chunks: read,
            trailers,
        };
        Ok(())
    }

    pub fn is_end_stream(&self) -> bool {
        match self {
            Self::Client(body) => body.is_end_stream(),
            Self::Tunnel { body, open } => !open || body.is_end_stream(),
            Self::Recoded(_, stage) => stage.is_end_stream(),
            Self::Read { chunks, trailers } => chunks.is_empty() && trailers.is_none(),
        }
    }

    /// Bytes that are to come, where that is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Client(body) => body.size_hint().exact(),
            Self::Tunnel { .. } | Self::Recoded(..) => None,
            Self::Read { chunks, .. } => Some(chunks.iter().map(|chunk| chunk.len() as u64).sum()),
        }
    }
}
