//! Bytes from one stream to the other and back, each direction on its own, with half-close.
//!
//! A direction holds a buffer only from a read until its bytes are written, so an idle connection
//! between plain sockets costs no memory for data and a direction never buffers more than one
//! buffer.

use crate::net::{Stream, buffers};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes of one read: a quarter of what Envoy buffers for a connection by default. With 64 KiB, bulk
/// transfers over mutual TLS cost a sixth more CPU.
const DATA: usize = 256 * 1024;
/// Bytes behind them: a TLS record is opened with the byte of its type behind its content.
const TAIL: usize = 64;
const _: () = assert!(buffers::SIZE >= DATA + TAIL);
/// Buffers read and written in a row before other connections of the worker get a turn.
const TURNS: u32 = 8;

/// Bytes moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// From downstream to upstream.
    pub received: u64,
    /// From upstream to downstream.
    pub sent: u64,
}

/// Bytes that each direction may hold; 0: what a read brings. With TLS it is records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// From downstream to upstream.
    pub received: u32,
    /// From upstream to downstream.
    pub sent: u32,
}

/// Why a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both sides said they were done.
    Closed,
    /// The downstream connection broke.
    Downstream(io::Error),
    /// The upstream connection broke.
    Upstream(io::Error),
    /// Nothing moved for the idle timeout.
    Idle,
}

/// Which end failed.
enum Broken {
    Reader(io::Error),
    Writer(io::Error),
}

enum State {
    /// No bytes held.
    Reading,
    Writing {
        buffer: Box<[u8]>,
        start: usize,
        end: usize,
    },
    Flushing,
    ShuttingDown,
    Done,
}

struct Direction {
    /// Bytes of one read.
    data: usize,
    state: State,
    moved: u64,
}

impl Direction {
    fn new(limit: u32) -> Self {
        Self {
            data: match limit {
                0 => DATA,
                limit => DATA.min(limit as usize),
            },
            state: State::Reading,
            moved: 0,
        }
    }

    fn release(&mut self) {
        if let State::Writing { buffer, .. } = std::mem::replace(&mut self.state, State::Done) {
            buffers::give(buffer);
        }
    }

    /// Ready when the direction is finished; `progress` is set when bytes moved.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        progress: &mut bool,
    ) -> Poll<Result<(), Broken>> {
        let mut turns = TURNS;
        loop {
            match &mut self.state {
                State::Reading => {
                    ready!(from.poll_read_ready(cx)).map_err(Broken::Reader)?;
                    if turns == 0 {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    turns -= 1;
                    let mut buffer = buffers::take();
                    let room = match from {
                        Stream::Plain(_) => self.data,
                        Stream::Tls(_) => self.data + TAIL,
                    };
                    let mut read = ReadBuf::new(&mut buffer[..room]);
                    let result = Pin::new(&mut *from).poll_read(cx, &mut read);
                    let end = read.filled().len();
                    match result {
                        Poll::Ready(Ok(())) if end > 0 => {
                            *progress = true;
                            self.state = State::Writing {
                                buffer,
                                start: 0,
                                end,
                            };
                        }
                        other => {
                            buffers::give(buffer);
                            ready!(other).map_err(Broken::Reader)?;
                            self.state = State::ShuttingDown;
                        }
                    }
                }
                State::Writing { buffer, start, end } => {
                    let written = ready!(Pin::new(&mut *to).poll_write(cx, &buffer[*start..*end]))
                        .map_err(Broken::Writer)?;
                    if written == 0 {
                        return Poll::Ready(Err(Broken::Writer(io::ErrorKind::WriteZero.into())));
                    }
                    *progress = true;
                    *start += written;
                    self.moved += written as u64;
                    if *start == *end
                        && let State::Writing { buffer, .. } =
                            std::mem::replace(&mut self.state, State::Flushing)
                    {
                        buffers::give(buffer);
                    }
                }
                State::Flushing => {
                    // TLS may hold a record that the socket did not take yet.
                    ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Broken::Writer)?;
                    self.state = State::Reading;
                }
                State::ShuttingDown => {
                    match ready!(Pin::new(&mut *to).poll_shutdown(cx)) {
                        // The other end is gone already: it needs no notice.
                        Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                            return Poll::Ready(Err(Broken::Writer(error)));
                        }
                        _ => {}
                    }
                    *progress = true;
                    self.state = State::Done;
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// Relays until both directions have ended, one of the connections breaks, or nothing moved
/// for `idle`. `moved` is kept up to date, also when the future is dropped.
pub async fn relay(
    downstream: &mut Stream,
    upstream: &mut Stream,
    limits: Limits,
    idle: Option<Duration>,
    moved: &mut Relayed,
) -> End {
    let mut inward = Direction::new(limits.received);
    let mut outward = Direction::new(limits.sent);
    let mut last = Instant::now();
    let mut timer: Option<Pin<Box<Sleep>>> = idle.map(|time| Box::pin(tokio::time::sleep(time)));
    let end = poll_fn(|cx| {
        let mut progress = false;
        let first = inward.poll(cx, downstream, upstream, &mut progress);
        let second = outward.poll(cx, upstream, downstream, &mut progress);
        moved.received = inward.moved;
        moved.sent = outward.moved;
        if let Poll::Ready(Err(broken)) = first {
            return Poll::Ready(match broken {
                Broken::Reader(error) => End::Downstream(error),
                Broken::Writer(error) => End::Upstream(error),
            });
        }
        if let Poll::Ready(Err(broken)) = second {
            return Poll::Ready(match broken {
                Broken::Reader(error) => End::Upstream(error),
                Broken::Writer(error) => End::Downstream(error),
            });
        }
        if first.is_ready() && second.is_ready() {
            return Poll::Ready(End::Closed);
        }
        if let (Some(timer), Some(idle)) = (&mut timer, idle) {
            // The timer is not moved with each byte: when it fires, it is set to the rest.
            if progress {
                last = Instant::now();
            }
            while timer.as_mut().poll(cx).is_ready() {
                let due = last + idle;
                if Instant::now() >= due {
                    return Poll::Ready(End::Idle);
                }
                timer.as_mut().reset(due);
            }
        }
        Poll::Pending
    })
    .await;
    inward.release();
    outward.release();
    end
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
