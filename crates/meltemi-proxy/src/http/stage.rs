//! A filter's work on a body that passes: frames go in, recoded ones come out.

use super::filters::{Coder, Malformed, Until};
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Frame;
use std::task::{Context, Poll, ready};

/// Bytes that are made of a body at a time.
const PIECE: usize = 16 * 1024;

pub(crate) struct Stage {
    coder: Coder,
    input: Bytes,
    /// What is still to come of the input.
    until: Option<Until>,
    trailers: Option<HeaderMap>,
    ended: bool,
}

/// Why a recoded body breaks off.
pub(crate) enum Failed<E> {
    /// The body itself did.
    Source(E),
    Malformed(Malformed),
}

impl Stage {
    pub fn new(coder: Coder) -> Self {
        Self {
            coder,
            input: Bytes::new(),
            until: None,
            trailers: None,
            ended: false,
        }
    }

    /// Nothing more comes.
    pub fn is_end_stream(&self) -> bool {
        self.ended && self.trailers.is_none()
    }

    /// A frame of what becomes of the frames of `source`.
    pub fn poll<E>(
        &mut self,
        cx: &mut Context<'_>,
        mut source: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failed<E>>>> {
        loop {
            if let Some(until) = self.until {
                let mut room = vec![0; PIECE];
                let step = match self.coder.step(&self.input, &mut room, until) {
                    Ok(step) => step,
                    Err(error) => return Poll::Ready(Some(Err(Failed::Malformed(error)))),
                };
                self.input.advance(step.read);
                if step.done {
                    self.until = None;
                    self.ended = until == Until::Ended;
                }
                if step.written > 0 {
                    room.truncate(step.written);
                    return Poll::Ready(Some(Ok(Frame::data(room.into()))));
                }
                continue;
            }
            if self.ended {
                let trailers = self.trailers.take().map(Frame::trailers);
                return Poll::Ready(trailers.map(Ok));
            }
            match ready!(source(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if self.coder.passes_data() => {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Ok(data) => {
                        self.input = data;
                        self.until = Some(Until::Flushed);
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().ok();
                        self.trailers = trailers.and_then(|trailers| self.coder.trailers(trailers));
                        self.until = Some(Until::Ended);
                    }
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(Failed::Source(error)))),
                None => self.until = Some(Until::Ended),
            }
        }
    }
}
