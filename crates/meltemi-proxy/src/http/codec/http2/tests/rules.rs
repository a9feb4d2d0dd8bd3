//! A connection without a socket: frames in, frames out.

use super::super::connection::{Connection, Ending, GOAWAY_PING, Role, Shared};
use super::super::frame::{self, HEAD, Head, flag, kind};
use super::super::handles::{Incoming, Reader, Writer};
use super::super::reason::{Broken, Reason};
use super::super::settings::Own;
use super::super::stream::Failure;
use crate::http::codec::Error;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Body;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// `GET / http` and `:authority: a`, by HPACK's static table.
const GET: &[u8] = &[0x82, 0x84, 0x86, 0x41, 0x01, b'a'];
/// The same as a POST.
const POST: &[u8] = &[0x83, 0x84, 0x86, 0x41, 0x01, b'a'];
/// `:status 200`.
const OK: &[u8] = &[0x88];
const WINDOW: u32 = 100_000;

fn own(role: Role) -> Own {
    Own {
        max_streams: (role == Role::Server).then_some(4),
        stream_window: WINDOW,
        connection_window: WINDOW,
        max_header_list: 4096,
        extended_connect: false,
    }
}

/// A connection whose peer has begun properly; what it has written is forgotten.
fn connection(role: Role) -> Shared {
    let mut connection = Connection::new(role, own(role));
    if role == Role::Server {
        connection.receive(frame::PREFACE).unwrap();
    }
    connection.receive(&raw(kind::SETTINGS, 0, 0, &[])).unwrap();
    written(&mut connection);
    Rc::new(RefCell::new(connection))
}

fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let head = Head {
        length: payload.len(),
        kind,
        flags,
        stream,
    };
    head.write(&mut out);
    out.extend(payload);
    out
}

fn headers(stream: u32, end: bool, block: &[u8]) -> Vec<u8> {
    let flags = flag::END_HEADERS | if end { flag::END_STREAM } else { 0 };
    raw(kind::HEADERS, flags, stream, block)
}

/// Takes the frames that wait in the output.
fn written(connection: &mut Connection) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let bytes = std::mem::take(connection.output.bytes());
    let mut rest = &bytes[..];
    let mut frames = Vec::new();
    if let Some(after) = rest.strip_prefix(frame::PREFACE) {
        rest = after;
    }
    while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
        let head = Head::parse(head);
        let (payload, after) = after.split_at(head.length);
        frames.push((head.kind, head.flags, head.stream, payload.to_vec()));
        rest = after;
    }
    frames
}

fn kinds(connection: &Shared) -> Vec<u8> {
    let frames = written(&mut connection.borrow_mut());
    frames.into_iter().map(|(kind, ..)| kind).collect()
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// What becomes of the connection, or of stream 1, after these frames.
fn verdict(role: Role, frames: &[Vec<u8>]) -> (Option<Broken>, Option<Reason>) {
    let connection = connection(role);
    let mut connection = connection.borrow_mut();
    if role == Role::Client {
        connection.open(&Request::new(()), true);
    }
    let broken = connection.receive(&frames.concat()).err();
    let reset = written(&mut connection)
        .into_iter()
        .find(|(kind, ..)| *kind == kind::RST_STREAM)
        .map(|(.., payload)| Reason(u32::from_be_bytes(payload.try_into().unwrap())));
    (broken, reset)
}

#[test]
fn what_breaks_the_connection() {
    let wide = 0x7fff_ffffu32.to_be_bytes();
    let window = |value: u32| [&[0, 4][..], &value.to_be_bytes()].concat();
    for (role, frames, reason) in [
        (
            Role::Server,
            vec![raw(kind::DATA, 0, 1, b"x")],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![raw(kind::DATA, 0, 0, b"x")],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![headers(2, true, GET)],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![headers(1, true, &[0x80])],
            Reason::COMPRESSION_ERROR,
        ),
        (
            Role::Server,
            vec![raw(kind::PING, 0, 0, b"short")],
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            Role::Server,
            vec![raw(kind::SETTINGS, 0, 0, &window(1 << 31))],
            Reason::FLOW_CONTROL_ERROR,
        ),
        (
            Role::Server,
            vec![raw(kind::SETTINGS, 0, 1, &[])],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![raw(kind::WINDOW_UPDATE, 0, 0, &wide)],
            Reason::FLOW_CONTROL_ERROR,
        ),
        (
            Role::Server,
            vec![raw(kind::WINDOW_UPDATE, 0, 0, &[0; 4])],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![raw(kind::RST_STREAM, 0, 1, &[0; 4])],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![raw(kind::CONTINUATION, flag::END_HEADERS, 1, GET)],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![
                raw(kind::HEADERS, 0, 1, GET),
                raw(kind::PING, 0, 0, &[0; 8]),
            ],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![raw(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 0])],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![vec![0, 0x40, 1, 0, 0, 0, 0, 0, 1]],
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            Role::Client,
            vec![raw(kind::PUSH_PROMISE, 0, 1, &[0, 0, 0, 2])],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Client,
            vec![headers(3, true, OK)],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Client,
            vec![raw(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 1])],
            Reason::PROTOCOL_ERROR,
        ),
    ] {
        let (broken, _) = verdict(role, &frames);
        assert_eq!(
            broken.map(|broken| broken.reason),
            Some(reason),
            "{frames:?}"
        );
    }
    let mut early = Connection::new(Role::Server, own(Role::Server));
    assert!(early.receive(b"GET / HTTP/1.1\r\n").is_err());
    let mut early = Connection::new(Role::Client, own(Role::Client));
    assert!(early.receive(&raw(kind::PING, 0, 0, &[0; 8])).is_err());
}

#[test]
fn what_breaks_a_stream_alone() {
    let length = [POST, &[0x0f, 0x0d, 1, b'3']].concat();
    let connection_header = [GET, &[0, 10], b"connection", &[1], b"x"].concat();
    for (role, frames, reason) in [
        (
            Role::Server,
            vec![headers(1, true, &[0x82])],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![headers(1, true, &connection_header)],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![headers(1, true, &length)],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![headers(1, false, &length), raw(kind::DATA, 0, 1, b"four")],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![headers(1, false, &length), raw(kind::DATA, 1, 1, b"2x")],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![headers(1, false, POST), headers(1, false, &[])],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Server,
            vec![headers(1, true, GET), raw(kind::DATA, 0, 1, b"x")],
            Reason::STREAM_CLOSED,
        ),
        (
            Role::Server,
            vec![
                headers(1, true, GET),
                raw(kind::WINDOW_UPDATE, 0, 1, &[0; 4]),
            ],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Client,
            vec![raw(kind::DATA, 0, 1, b"x")],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Client,
            vec![headers(1, true, GET)],
            Reason::PROTOCOL_ERROR,
        ),
        (
            Role::Client,
            vec![headers(1, true, &[8, 3, b'1', b'0', b'1'])],
            Reason::PROTOCOL_ERROR,
        ),
    ] {
        assert_eq!(verdict(role, &frames), (None, Some(reason)), "{frames:?}");
    }
}

#[test]
fn too_many_streams_are_refused_and_large_heads_answered() {
    let connection = connection(Role::Server);
    let mut connection = connection.borrow_mut();
    for stream in [1, 3, 5, 7, 9] {
        connection.receive(&headers(stream, true, GET)).unwrap();
    }
    assert_eq!(connection.accepted.len(), 4);
    let frames = written(&mut connection);
    assert_eq!(frames, [(kind::RST_STREAM, 0, 9, vec![0, 0, 0, 7])]);
    connection.forget_request(0);
    connection.fail(0, Failure::TooLarge);
    let mut large = GET.to_vec();
    for _ in 0..3 {
        large.extend([0, 1, b'x', 0x7f, 0x81, 0x0b]);
        large.extend([b'v'; 0x7f + 1 + 11 * 128]);
    }
    connection.receive(&headers(11, false, &large)).unwrap();
    let frames = written(&mut connection);
    assert_eq!(frames[0].0, kind::HEADERS);
    assert_eq!(frames[1], (kind::RST_STREAM, 0, 11, vec![0; 4]));
    assert_eq!(connection.accepted.len(), 3);
}

#[test]
fn floods_end_the_connection() {
    let settings = raw(kind::SETTINGS, 0, 0, &[]);
    let ping = raw(kind::PING, 0, 0, &[0; 8]);
    let empty = raw(kind::DATA, 0, 1, &[]);
    let priority = raw(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 0]);
    let update = raw(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let unknown = raw(77, 0, 1, b"?");
    for flood in [settings, ping, empty, priority, update, unknown] {
        let connection = connection(Role::Server);
        let mut connection = connection.borrow_mut();
        connection.receive(&headers(1, false, POST)).unwrap();
        let broken = (0..20_000).find_map(|_| {
            connection.output.bytes().clear();
            connection.receive(&flood).err()
        });
        assert_eq!(broken.unwrap().reason, Reason::ENHANCE_YOUR_CALM);
    }
    // Answers that nobody reads, whatever they were earned with.
    let connection = connection(Role::Server);
    let mut connection = connection.borrow_mut();
    connection.receive(&headers(1, false, POST)).unwrap();
    let ping = raw(kind::PING, 0, 0, &[0; 8]);
    let broken = (0..100_000).find_map(|_| {
        connection.budget.earn();
        connection.receive(&ping).err()
    });
    assert_eq!(broken.unwrap().reason, Reason::ENHANCE_YOUR_CALM);
}

#[test]
fn windows_are_kept_and_given_back() {
    let connection = connection(Role::Server);
    connection
        .borrow_mut()
        .receive(&headers(1, false, POST))
        .unwrap();
    let key = connection.borrow_mut().accepted.pop_front().unwrap().key;
    let writer = Writer::new(&connection, key);
    let mut body = Incoming::new(Reader::new(&connection, key));
    let piece = raw(
        kind::DATA,
        flag::PADDED,
        1,
        &[&[9][..], &[1; 9990], &[0; 9]].concat(),
    );
    for _ in 0..10 {
        connection.borrow_mut().receive(&piece).unwrap();
    }
    assert!(kinds(&connection).is_empty());
    let mut taken = 0;
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx()) {
        taken += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(taken, 99_900);
    assert_eq!(
        kinds(&connection),
        [kind::WINDOW_UPDATE, kind::WINDOW_UPDATE]
    );
    // One byte more than the window.
    let full = raw(kind::DATA, 0, 1, &[1; 10_000]);
    let broken = (0..20).find_map(|_| connection.borrow_mut().receive(&full).err());
    assert_eq!(broken.unwrap().reason, Reason::FLOW_CONTROL_ERROR);
    drop((writer, body));
}

#[test]
fn a_shut_window_holds_one_chunk_and_no_more() {
    let connection = connection(Role::Server);
    let settings = raw(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    connection.borrow_mut().receive(&settings).unwrap();
    connection
        .borrow_mut()
        .receive(&headers(1, true, GET))
        .unwrap();
    let key = connection.borrow_mut().accepted.pop_front().unwrap().key;
    let writer = Writer::new(&connection, key);
    drop(Incoming::new(Reader::new(&connection, key)));
    writer.send_head(StatusCode::OK, &http::HeaderMap::new(), false);
    assert!(writer.poll_ready(&cx()).is_ready());
    writer.send_data(Bytes::from_static(b"chunk"), false);
    assert!(writer.poll_ready(&cx()).is_pending());
    assert_eq!(kinds(&connection), [kind::SETTINGS, kind::HEADERS]);
    let update = raw(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 2]);
    connection.borrow_mut().receive(&update).unwrap();
    connection.borrow_mut().transmit_queued();
    let frames = written(&mut connection.borrow_mut());
    assert_eq!(frames, [(kind::DATA, 0, 1, b"ch".to_vec())]);
    // The window opens for all streams, by a setting.
    let settings = raw(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 9]);
    connection.borrow_mut().receive(&settings).unwrap();
    connection.borrow_mut().transmit_queued();
    assert!(writer.poll_ready(&cx()).is_ready());
    writer.send_data(Bytes::new(), true);
    drop(writer);
    assert_eq!(kinds(&connection), [kind::SETTINGS, kind::DATA, kind::DATA]);
    assert_eq!(connection.borrow().streams.open(), 0);
}

#[test]
fn the_end_comes_in_two_steps() {
    let connection = connection(Role::Server);
    let mut connection = connection.borrow_mut();
    connection.receive(&headers(1, true, GET)).unwrap();
    connection.shut_down();
    let last = |frames: Vec<(u8, u8, u32, Vec<u8>)>| frames[0].3[..4].to_vec();
    assert_eq!(last(written(&mut connection)), [0x7f, 0xff, 0xff, 0xff]);
    // A request that was on its way is served, one behind the acknowledgement is not.
    connection.receive(&headers(3, true, GET)).unwrap();
    connection
        .receive(&raw(kind::PING, flag::ACK, 0, &GOAWAY_PING))
        .unwrap();
    assert_eq!(connection.ending, Ending::Final(3));
    assert_eq!(last(written(&mut connection)), [0, 0, 0, 3]);
    connection.receive(&headers(5, true, GET)).unwrap();
    assert_eq!(connection.accepted.len(), 2);
}

#[test]
fn requests_above_the_servers_last_stream_were_not_looked_at() {
    let connection = connection(Role::Client);
    let keys = [(); 2].map(|()| connection.borrow_mut().open(&Request::new(()), true));
    let readers = keys.map(|key| Reader::new(&connection, key));
    let goaway = raw(kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
    connection.borrow_mut().receive(&goaway).unwrap();
    assert!(connection.borrow().is_closed());
    let refused = Failure::Reset(Reason::REFUSED_STREAM);
    let Poll::Ready(Err(failure)) = readers[1].poll_head(&cx()) else {
        panic!("the second request is waiting");
    };
    assert_eq!(failure, refused);
    assert!(readers[0].poll_head(&cx()).is_pending());
    connection
        .borrow_mut()
        .receive(&headers(1, true, OK))
        .unwrap();
    let Poll::Ready(Ok(head)) = readers[0].poll_head(&cx()) else {
        panic!("the first has no answer");
    };
    assert_eq!(head.status(), StatusCode::OK);
}

#[test]
fn a_reset_reaches_reader_and_writer() {
    let connection = connection(Role::Client);
    let key = connection.borrow_mut().open(&Request::new(()), false);
    let (reader, writer) = (Reader::new(&connection, key), Writer::new(&connection, key));
    connection
        .borrow_mut()
        .receive(&headers(1, false, OK))
        .unwrap();
    assert!(reader.poll_head(&cx()).is_ready());
    let mut body = Incoming::new(reader);
    let reset = raw(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    connection.borrow_mut().receive(&reset).unwrap();
    assert!(matches!(writer.poll_ready(&cx()), Poll::Ready(Err(_))));
    match Pin::new(&mut body).poll_frame(&mut cx()) {
        Poll::Ready(Some(Err(Error::Reset(reason)))) => assert_eq!(reason, Reason::CANCEL),
        _ => panic!("the reader is not told"),
    }
    drop((body, writer));
    kinds(&connection);
    // One whose answer nobody wants any more tells the server.
    let key = connection.borrow_mut().open(&Request::new(()), true);
    drop((Reader::new(&connection, key), Writer::new(&connection, key)));
    assert_eq!(kinds(&connection), [kind::HEADERS, kind::RST_STREAM]);
    assert_eq!(connection.borrow().streams.open(), 0);
}
