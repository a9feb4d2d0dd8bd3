//! Peers that take their time, in every phase of a connection.

use crate::case::Case;
use crate::frames::*;

/// Ten seconds of pieces.
const LONG: usize = 100;

pub fn cases() -> Vec<Case> {
    let started = "POST / HTTP/1.1\r\nHost: a.test\r\n";
    let body = format!("{started}Content-Length: 1000\r\n\r\n");
    let chunks = format!("{started}Transfer-Encoding: chunked\r\n\r\n");
    let opened = frame(HEADERS, END_HEADERS, 1, &block(POST));
    vec![
        Case::http1("TLS: silence", Vec::new()).tls(),
        // The header of a record, and of a ClientHello of 512 bytes.
        Case::http1(
            "TLS: a handshake in drops",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        )
        .tls()
        .then_drip(b"x", LONG),
        Case::http1("silence", Vec::new()),
        Case::http1("a head that stops", started),
        Case::http1("a head in drops", started).then_drip(b"x-a: b\r\n", LONG),
        Case::http1("a body that stops", body.clone()),
        Case::http1("chunks that stop", chunks.clone()),
        Case::http1("a chunk's size that stops", format!("{chunks}1")),
        Case::http1(
            "an idle connection after a request",
            "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        )
        .then_drip(b"", 20),
        Case::http1("HTTP/2: a preface that stops", PREFACE[..12].to_vec()),
        Case::http2("HTTP/2: silence", Vec::new()),
        Case::http2(
            "HTTP/2: a head that stops",
            frame(HEADERS, END_STREAM, 1, &block(GET)),
        ),
        Case::http2(
            "HTTP/2: a head in drops",
            frame(HEADERS, END_STREAM, 1, &block(GET)),
        )
        .then_drip(&frame(CONTINUATION, 0, 1, &field(b"x-a", b"b")), LONG),
        Case::http2("HTTP/2: a body that stops", opened.clone()),
        Case::http2(
            "HTTP/2: a frame that stops",
            [opened, vec![0, 0, 100, DATA, 0]].concat(),
        ),
        Case::http2("HTTP/2: no window for a long answer", {
            let large = GET.iter().map(|(name, value)| match *name {
                ":path" => (*name, "/large"),
                _ => (*name, *value),
            });
            let large: Vec<(&str, &str)> = large.collect();
            [settings(&[(4, 0)]), head(1, &large)].concat()
        }),
    ]
}
