//! Records of an established TLS connection, by ours and by rustls' own: whole ones of any type
//! and content, sealed with the right keys or others, damaged ones and no records at all, in any
//! pieces. Both connections had the same handshake and get the same bytes: they deliver the same
//! data, and are open, ended in order or broken after the same piece. What ours writes meanwhile
//! comes to a peer of rustls' as it was written. What ours holds has a bound, whatever comes.
//!
//! Inputs: a byte for the suite and the side, one for how much a read asks for, then steps, whose
//! first byte is one of [`Steps::next`].
#![no_main]

use libfuzzer_sys::fuzz_target;
use meltemi_fuzz::counting::{self, Counting};
use meltemi_fuzz::sealer::Sealer;
use meltemi_fuzz::tls::{Ends, SUITES};
use meltemi_proxy::net::tls::{Side, TlsStream};
use meltemi_proxy::net::{Socket, buffers};
use rustls::{Connection, Error, InvalidMessage, PeerMisbehaved};
use std::cell::OnceCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

/// Bytes that an input may come to.
const MOST: usize = 1 << 20;
/// Bytes that a Unix socket takes at once.
const PIECE: usize = 32 * 1024;
/// Bytes that a connection may hold: its buffers and those its thread keeps, and a handshake
/// message that has not ended, with the record that is added to it.
const HELD: isize = 4 * buffers::SIZE as isize + 2 * (64 + 16) * 1024;
/// Why rustls takes no more of a message.
const FULL: &str = "the buffer for messages is full";
/// What a read asks for.
const READS: [usize; 6] = [1, 7, 300, 16 * 1024, 20_000, 70_000];

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    static ENDS: [OnceCell<Ends>; SUITES.len()] = const { [const { OnceCell::new() }; SUITES.len()] };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_target!(|input: &[u8]| {
    let [choice, read, steps @ ..] = input else {
        return;
    };
    let suite = usize::from(choice & 0x7f) % SUITES.len();
    ENDS.with(|ends| {
        let ends = ends[suite].get_or_init(|| Ends::new(SUITES[suite]));
        let read = READS[usize::from(*read) % READS.len()];
        RUNTIME.with(|runtime| runtime.block_on(play(ends, choice & 0x80 != 0, read, steps)));
    });
});

async fn play(ends: &Ends, client: bool, read: usize, input: &[u8]) {
    let (mut sealer, theirs) = match client {
        true => Sealer::server(ends),
        false => Sealer::client(ends),
    };
    let mut steps = Steps(input);
    let mut pending = Vec::new();
    let first = steps.before_the_stream(&mut sealer);
    let mut theirs = Theirs::new(theirs);
    let mut ours = Ours::new(ends, client, read, &first);
    ours.damaged = Steps(input).damage();
    theirs.receive(&first);
    ours.read().await;
    compare(&ours, &theirs);
    let mut total = first.len();
    while let Some(step) = steps.next() {
        match step {
            Step::Deliver(length) => {
                let length = if length == 0 { pending.len() } else { length };
                let rest = pending.split_off(length.min(pending.len()));
                exchange(&mut ours, &mut theirs, &pending).await;
                pending = rest;
            }
            Step::Write(length) => ours.write(length).await,
            other => other.build(&mut sealer, &mut pending),
        }
        total += pending.len();
        if total > MOST {
            return;
        }
    }
    exchange(&mut ours, &mut theirs, &pending).await;
    ours.write(5).await;
    ours.end().await;
}

async fn exchange(ours: &mut Ours, theirs: &mut Theirs, bytes: &[u8]) {
    for piece in bytes.chunks(PIECE) {
        if !matches!(ours.verdict, Verdict::Open) {
            return;
        }
        ours.far.write_all(piece).expect("room");
        ours.read().await;
        theirs.receive(piece);
        compare(ours, theirs);
    }
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Open,
    Closed,
    Broken(Error),
}

/// The same of both, but where one is stricter on purpose.
fn compare(ours: &Ours, theirs: &Theirs) {
    if let Verdict::Broken(error) = &ours.verdict
        && stricter(error, ours.damaged)
    {
        assert!(theirs.data.starts_with(&ours.data));
    } else if let Verdict::Broken(error) = &theirs.verdict
        && theirs_stricter(error)
    {
        assert!(ours.data.starts_with(&theirs.data));
    } else {
        let (left, right) = (&ours.verdict, &theirs.verdict);
        assert_eq!(
            std::mem::discriminant(left),
            std::mem::discriminant(right),
            "ours: {left:?}, theirs: {right:?}"
        );
        assert!(ours.data == theirs.data, "{left:?}, {right:?}");
    }
}

/// What only rustls refuses: less than ours of the same floods, and the last bytes of the longest
/// messages.
fn theirs_stricter(error: &Error) -> bool {
    match error {
        Error::PeerMisbehaved(misbehaved) => matches!(
            misbehaved,
            PeerMisbehaved::TooManyWarningAlertsReceived
                | PeerMisbehaved::TooManyKeyUpdateRequests
                | PeerMisbehaved::TooManyEmptyFragments
        ),
        Error::General(reason) => reason == FULL,
        _ => false,
    }
}

/// What only ours refuses: floods of records of any type without data, requests for another
/// handshake in TLS 1.2, which rustls declines, and records of a handshake with nothing in them
/// (RFC 8446 §5.1); what it refuses by its header already, and headers with another version than
/// they were sealed with, which rustls does not look at, or with SSL 2's or one of DTLS'.
fn stricter(error: &Error, damaged: bool) -> bool {
    match error {
        Error::General(reason) => {
            reason == "too many records without data" || reason == "renegotiation is refused"
        }
        Error::PeerSentOversizedRecord
        | Error::InvalidMessage(InvalidMessage::InvalidEmptyPayload) => true,
        Error::DecryptError | Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => {
            damaged
        }
        _ => false,
    }
}

/// What an input says.
struct Steps<'a>(&'a [u8]);

enum Step<'a> {
    Seal(u8, &'a [u8]),
    Bulk(u8, usize),
    KeyUpdate(u8),
    ChangeKeys,
    Raw(&'a [u8]),
    Flip(usize, u8),
    /// So many bytes of what is built, or all.
    Deliver(usize),
    Write(usize),
}

impl<'a> Steps<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<usize> {
        let bytes = [self.byte()?, self.byte()?];
        Some(usize::from(u16::from_be_bytes(bytes)))
    }

    /// As many as a byte says, or as there are.
    fn some(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?).min(self.0.len());
        let (now, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(now)
    }

    fn next(&mut self) -> Option<Step<'a>> {
        Some(match self.byte()? & 7 {
            0 => Step::Seal(self.byte()?, self.some()?),
            1 => Step::Bulk(self.byte()?, self.number()?),
            2 => Step::KeyUpdate(self.byte()?),
            3 => Step::ChangeKeys,
            4 => Step::Raw(self.some()?),
            5 => Step::Flip(self.number()?, self.byte()?),
            6 => Step::Deliver(self.number()?),
            _ => Step::Write(self.number()?),
        })
    }

    /// Whether any bytes are not only what a peer has sealed.
    fn damage(mut self) -> bool {
        let mut steps = std::iter::from_fn(|| self.next());
        steps.any(|step| matches!(step, Step::Flip(..) | Step::Raw(_)))
    }

    /// What came with the end of the handshake: all that is built before the first step that
    /// writes, where nothing is delivered before.
    fn before_the_stream(&mut self, sealer: &mut Sealer) -> Vec<u8> {
        let mut ahead = Steps(self.0);
        let mut steps = Vec::new();
        let mut first = Vec::new();
        while let Some(step) = ahead.next() {
            match step {
                Step::Write(_) => {
                    self.0 = ahead.0;
                    for step in steps {
                        Step::build(step, sealer, &mut first);
                    }
                    return first;
                }
                Step::Deliver(_) => break,
                other => steps.push(other),
            }
        }
        first
    }
}

impl Step<'_> {
    /// Appends to what is to be delivered, or changes it.
    fn build(self, sealer: &mut Sealer, pending: &mut Vec<u8>) {
        match self {
            Step::Seal(kind, content) => pending.extend(sealer.seal(kind, content)),
            Step::Bulk(kind, length) => {
                pending.extend(sealer.seal(kind, &pattern(length.min(60_000))));
            }
            Step::KeyUpdate(request) => {
                pending.extend(sealer.seal(22, &[24, 0, 0, 1, request]));
                sealer.change_keys();
            }
            Step::ChangeKeys => sealer.change_keys(),
            Step::Raw(bytes) => pending.extend_from_slice(bytes),
            Step::Flip(at, bits) => {
                let length = pending.len().max(1);
                if let Some(byte) = pending.get_mut(at % length) {
                    *byte ^= bits;
                }
            }
            Step::Deliver(_) | Step::Write(_) => {}
        }
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 7 + n / 4096) as u8).collect()
}

/// A connection of rustls' and what came of it.
struct Theirs {
    connection: Connection,
    data: Vec<u8>,
    verdict: Verdict,
}

impl Theirs {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            data: Vec::new(),
            verdict: Verdict::Open,
        }
    }

    fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.verdict == Verdict::Open {
            if self.connection.read_tls(&mut bytes).is_err() {
                self.verdict = Verdict::Broken(Error::General(FULL.into()));
                return;
            }
            match self.connection.process_new_packets() {
                Ok(state) if state.peer_has_closed() => self.verdict = Verdict::Closed,
                Ok(_) => {}
                Err(error) => self.verdict = Verdict::Broken(error),
            }
            // It ends where nothing waits.
            let _ = self.connection.reader().read_to_end(&mut self.data);
        }
    }
}

/// A connection of ours, the other end of its socket, and rustls' peer that is told what it says.
struct Ours {
    stream: TlsStream,
    far: UnixStream,
    peer: Theirs,
    read: usize,
    data: Vec<u8>,
    written: Vec<u8>,
    verdict: Verdict,
    held: isize,
    /// Its bytes are not only what a peer has sealed.
    damaged: bool,
}

impl Ours {
    fn new(ends: &Ends, client: bool, read: usize, received: &[u8]) -> Self {
        let (near, far) = UnixStream::pair().expect("sockets");
        for socket in [&near, &far] {
            socket.set_nonblocking(true).expect("a socket");
        }
        let near = tokio::net::UnixStream::from_std(near).expect("a socket");
        let (side, secrets, peer) = if client {
            let (client, peer) = ends.client();
            let (secrets, side) = client.dangerous_into_kernel_connection().expect("secrets");
            (Side::Client(side), secrets, peer)
        } else {
            let (server, peer) = ends.server();
            let (secrets, side) = server.dangerous_into_kernel_connection().expect("secrets");
            (Side::Server(side), secrets, peer)
        };
        Self {
            stream: TlsStream::new(Socket::Unix(near), side, &secrets, None, received)
                .expect("secrets of their suite"),
            far,
            peer: Theirs::new(peer),
            read,
            data: Vec::new(),
            written: Vec::new(),
            verdict: Verdict::Open,
            held: 0,
            damaged: false,
        }
    }

    /// Polls the stream, and counts what it holds then.
    async fn poll<T>(
        &mut self,
        mut poll: impl FnMut(Pin<&mut TlsStream>, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let stream = &mut self.stream;
        let held = &mut self.held;
        let polled = poll_fn(|cx| {
            let before = counting::live();
            let polled = poll(Pin::new(stream), cx);
            *held += counting::live() - before;
            Poll::Ready(polled)
        })
        .await;
        assert!(self.held < HELD, "{} bytes are held", self.held);
        polled
    }

    /// Reads until there is nothing more, or no more to come.
    async fn read(&mut self) {
        let mut buffer = vec![0; self.read];
        let mut waited = 0;
        while waited < 2 && self.verdict == Verdict::Open {
            let mut read = ReadBuf::new(&mut buffer);
            match self
                .poll(|stream, cx| stream.poll_read(cx, &mut read))
                .await
            {
                Poll::Ready(Ok(())) if read.filled().is_empty() => self.verdict = Verdict::Closed,
                Poll::Ready(Ok(())) => self.data.extend_from_slice(read.filled()),
                Poll::Ready(Err(error)) => self.verdict = Verdict::Broken(reason(&error)),
                // The socket's readiness is known after a turn of the runtime.
                Poll::Pending => {
                    waited += 1;
                    yield_now().await;
                }
            }
        }
        self.hear();
    }

    /// Writes so many bytes, which the peer gets.
    async fn write(&mut self, length: usize) {
        let bytes = pattern(length);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let polled = self.poll(|stream, cx| stream.poll_write(cx, rest)).await;
            match polled {
                Poll::Ready(Ok(written)) => {
                    assert!(written > 0);
                    self.written.extend_from_slice(&rest[..written]);
                    rest = &rest[written..];
                }
                Poll::Ready(Err(error)) => {
                    assert!(matches!(self.verdict, Verdict::Broken(_)), "{error}");
                    break;
                }
                Poll::Pending => yield_now().await,
            }
            self.hear();
        }
        while self.poll(AsyncWrite::poll_flush).await.is_pending() {
            yield_now().await;
            self.hear();
        }
        self.hear();
        assert!(self.peer.data == self.written, "{:?}", self.peer.verdict);
    }

    /// The peer takes in what was said: data, and an alert only of a connection that is broken.
    fn hear(&mut self) {
        let mut said = Vec::new();
        match self.far.read_to_end(&mut said) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("{other:?} of a socket that is open"),
        }
        self.peer.receive(&said);
        match &self.peer.verdict {
            Verdict::Open => {}
            Verdict::Broken(Error::AlertReceived(_)) => {
                assert!(matches!(self.verdict, Verdict::Broken(_)));
            }
            other => panic!("{other:?}, while we are {:?}", self.verdict),
        }
    }

    /// The end of the socket is none of the connection.
    async fn end(mut self) {
        // Whose alert ends the connection is told no more than that we, too, send nothing more.
        let alerted = match &self.verdict {
            Verdict::Broken(error) => !matches!(error, Error::AlertReceived(_)),
            Verdict::Open | Verdict::Closed => false,
        };
        let mut polled = self.poll(AsyncWrite::poll_shutdown).await;
        while polled.is_pending() {
            yield_now().await;
            polled = self.poll(AsyncWrite::poll_shutdown).await;
        }
        assert!(matches!(polled, Poll::Ready(Ok(()))), "{polled:?}");
        let mut said = Vec::new();
        self.far.read_to_end(&mut said).expect("the end");
        self.peer.receive(&said);
        assert_eq!(self.peer.verdict == Verdict::Closed, !alerted);
        self.far.shutdown(std::net::Shutdown::Both).expect("open");
        let before = std::mem::replace(&mut self.verdict, Verdict::Open);
        let mut buffer = [0; 8];
        for _ in 0..3 {
            let mut read = ReadBuf::new(&mut buffer);
            match self
                .poll(|stream, cx| stream.poll_read(cx, &mut read))
                .await
            {
                Poll::Pending => yield_now().await,
                Poll::Ready(Ok(())) => assert_eq!(before, Verdict::Closed),
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    assert_eq!(before, Verdict::Open);
                }
                Poll::Ready(Err(error)) => assert_eq!(before, Verdict::Broken(reason(&error))),
            }
        }
    }
}

/// rustls' error within one of the stream's.
fn reason(error: &io::Error) -> Error {
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.cloned().expect("an error of rustls'")
}
