//! Heads in HTTP/2 that HTTP/1 cannot carry, and frames that get nothing done.

use crate::case::Case;
use crate::frames::*;

/// A request with more headers than the ordinary ones.
fn with(name: &'static str, headers: &[(&str, &str)]) -> Case {
    Case::http2(name, head(1, &[GET, headers].concat()))
}

/// A request with its first fields replaced.
fn instead(name: &'static str, key: &str, value: &str) -> Case {
    let fields: Vec<(&str, &str)> = GET
        .iter()
        .map(|(known, ordinary)| (*known, if *known == key { value } else { ordinary }))
        .collect();
    Case::http2(name, head(1, &fields))
}

fn posted(name: &'static str, headers: &[(&str, &str)], body: &[u8]) -> Case {
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &block(&[POST, headers].concat()));
    bytes.extend(frame(DATA, END_STREAM, 1, body));
    Case::http2(name, bytes)
}

pub fn downgrade() -> Vec<Case> {
    let hidden = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let without = |name: &str| -> Vec<(&str, &str)> {
        GET.iter()
            .copied()
            .filter(|(known, _)| *known != name)
            .collect()
    };
    vec![
        with("a line break in a value", &[("x-a", "b\r\nx-b: c")]).showing("x-b"),
        with("a line feed in a value", &[("x-a", "b\nc")]),
        with("a carriage return in a value", &[("x-a", "b\rc")]),
        with("NUL in a value", &[("x-a", "b\0c")]),
        with("a blank around a value", &[("x-a", " b ")]).showing("x-a"),
        with("a line break in a name", &[("x\r\ny", "b")]),
        with("a colon in a name", &[("x:y", "b")]),
        with("a blank in a name", &[("x y", "b")]),
        with("a name in upper case", &[("X-A", "b")]),
        with("an empty name", &[("", "b")]),
        posted("an encoding", &[("transfer-encoding", "chunked")], hidden),
        posted(
            "a length shorter than the body",
            &[("content-length", "0")],
            hidden,
        ),
        posted(
            "a length longer than the body",
            &[("content-length", "500")],
            b"ab",
        ),
        posted(
            "two lengths",
            &[("content-length", "2"), ("content-length", "3")],
            b"ab",
        ),
        with("Connection", &[("connection", "x-a"), ("x-a", "b")]),
        with("Keep-Alive", &[("keep-alive", "timeout=5")]),
        with("Upgrade", &[("upgrade", "websocket")]),
        with("te: gzip", &[("te", "gzip")]).showing("te"),
        with("te: trailers", &[("te", "trailers")]).showing("te"),
        instead("a blank in the path", ":path", "/ HTTP/1.1 x"),
        instead("a line break in the path", ":path", "/ HTTP/1.1\r\nx: y"),
        instead("an empty path", ":path", ""),
        instead("a path without a slash", ":path", "admin"),
        instead("an absolute path", ":path", "http://b.test/admin"),
        instead("a fragment in the path", ":path", "/#/admin"),
        instead("a blank in the method", ":method", "GET / HTTP/1.1 x"),
        instead("a line break in the method", ":method", "GET\r\nx: y"),
        instead("an empty method", ":method", ""),
        instead("a scheme with a line break", ":scheme", "http\r\nx"),
        instead("a scheme with a host", ":scheme", "http://b.test/?"),
        instead("a blank in the authority", ":authority", "a.test b"),
        instead(
            "a line break in the authority",
            ":authority",
            "a.test\r\nx: y",
        ),
        instead("an authority with a path", ":authority", "a.test/admin"),
        instead("an authority with a user", ":authority", "me@a.test"),
        with("another host", &[("host", "b.test")]).showing("host"),
        with("two other hosts", &[("host", "b.test"), ("host", "c.test")]).showing("host"),
        Case::http2(
            "a host and no authority",
            head(
                1,
                &[without(":authority"), vec![("host", "b.test")]].concat(),
            ),
        )
        .showing("host"),
        Case::http2("neither", head(1, &without(":authority"))).showing("host"),
        Case::http2("no path", head(1, &without(":path"))),
        Case::http2("no scheme", head(1, &without(":scheme"))),
        with(
            "a path behind the headers",
            &[("x-a", "b"), (":path", "/admin")],
        ),
        Case::http2(
            "two paths",
            head(1, &[GET, &[(":path", "/admin")]].concat()),
        ),
        with("a pseudo-header that nobody knows", &[(":x", "y")]),
        Case::http2("a status", head(1, &[GET, &[(":status", "200")]].concat())),
        Case::http2(
            "a pseudo-header in trailers",
            [
                frame(HEADERS, END_HEADERS, 1, &block(POST)),
                frame(DATA, 0, 1, b"ab"),
                head(1, &[(":path", "/admin")]),
            ]
            .concat(),
        ),
        with("cookies in pieces", &[("cookie", "a=b"), ("cookie", "c=d")]).showing("cookie"),
        posted("an ordinary request", &[("content-length", "2")], b"ab"),
    ]
}

pub fn floods() -> Vec<Case> {
    let quiet = |name| Case::http2(name, Vec::new());
    vec![
        quiet("requests that are reset").then_flood(
            |number| {
                let stream = number * 2 + 1;
                [
                    head(stream, GET),
                    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()),
                ]
                .concat()
            },
            20_000,
        ),
        quiet("heads that go on").then_flood(
            |number| match number {
                0 => frame(HEADERS, END_STREAM, 1, &block(GET)),
                _ => frame(CONTINUATION, 0, 1, &field(b"x-a", &[b'b'; 1000])),
            },
            20_000,
        ),
        quiet("empty continuations").then_flood(
            |number| match number {
                0 => frame(HEADERS, END_STREAM, 1, &block(GET)),
                _ => frame(CONTINUATION, 0, 1, &[]),
            },
            20_000,
        ),
        quiet("empty frames of data").then_flood(
            |number| match number {
                0 => frame(HEADERS, END_HEADERS, 1, &block(POST)),
                _ => frame(DATA, 0, 1, &[]),
            },
            20_000,
        ),
        quiet("pings").then_flood(|_| frame(PING, 0, 0, &[0; 8]), 100_000),
        quiet("settings").then_flood(|_| settings(&[(3, 100)]), 100_000),
        quiet("requests refused by their own error").then_flood(
            |number| head(number * 2 + 1, &[GET, &[("X", "y")]].concat()),
            20_000,
        ),
        Case::http2("a head of 100 kB", {
            let fields = field(b"x-a", &[b'b'; 10_000]);
            let mut bytes = frame(HEADERS, END_STREAM, 1, &block(GET));
            for _ in 0..9 {
                bytes.extend(frame(CONTINUATION, 0, 1, &fields));
            }
            bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &fields));
            bytes
        }),
        Case::http2("two thousand headers", {
            let fields: Vec<u8> = (0..2000).flat_map(|_| field(b"x", b"y")).collect();
            head_of(&[block(GET), fields].concat())
        }),
        Case::http2("a head that a table makes large", {
            // One field of 3 kB, remembered, and then named two thousand times in a byte each.
            let mut large = field(b"x-a", &[b'b'; 3000]);
            large[0] = 0x40;
            head_of(&[block(GET), large, vec![0xbe; 2000]].concat())
        }),
        Case::http2("a window of more than 31 bits", {
            let mut bytes = frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes());
            bytes.extend(head(1, GET));
            bytes
        }),
        Case::http2(
            "a window that grows by nothing",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        ),
        Case::http2(
            "a frame of 100 kB",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0; 100_000]),
        ),
        Case::http2(
            "data for a stream that was never opened",
            frame(DATA, END_STREAM, 1, b"ab"),
        ),
        Case::http2("a stream with an even number", head(2, GET)),
    ]
}

fn head_of(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, block)
}
