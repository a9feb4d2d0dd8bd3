use super::super::transcript::{Message, Rest, requests, response};
use http::Method;

/// As one piece and byte by byte: the same.
fn read(text: &str) -> (Vec<Message>, Rest) {
    let whole = requests(&[text.as_bytes()], 60 * 1024, 100);
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    let (messages, rest) = requests(&bytes, 60 * 1024, 100);
    assert_eq!(whole.0, messages, "{text:?}");
    match (&whole.1, &rest) {
        // Cut in pieces, the head is complete before the rest of the body is there.
        (Rest::Refused(one, _), Rest::Refused(other, _)) => assert_eq!(one, other, "{text:?}"),
        (one, other) => assert_eq!(one, other, "{text:?}"),
    }
    whole
}

#[test]
fn ordinary_messages_pass_also_pipelined_and_in_pieces() {
    let (messages, rest) = read(
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nPOST /b HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\n\n\r\n\n\
         xPOST /c HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nabcde\r\n0\r\nT: 1\r\n\r\n\
         GET http://d/d HTTP/1.0\r\nHost: d\r\nX-Blank: \t a b \t\r\nX-None:\r\n\r\n",
    );
    assert_eq!(rest, Rest::Nothing);
    let bodies: Vec<_> = messages.iter().map(|m| (&*m.start, &m.body[..])).collect();
    assert_eq!(
        bodies,
        [
            ("GET /", &b""[..]),
            ("POST /b", b"\n\r\n\nx"),
            ("POST /c", b"abcde"),
            ("GET http://d/d", b""),
        ]
    );
    assert_eq!(messages[2].trailers["t"], "1");
    assert_eq!(messages[3].headers["x-blank"], "a b");
    assert_eq!(messages[3].headers["x-none"], "");
}

#[test]
fn smuggling_is_refused() {
    const POST: &str = "POST / HTTP/1.1\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
    let get = |line: &str| format!("GET / HTTP/1.1\r\n{line}\r\n");
    let cases = [
        (
            "GET / HTTP/1.1\nHost: a\r\n\r\n".into(),
            "line ends without a carriage return",
        ),
        (get("Host: a\n"), "line ends without a carriage return"),
        (get("Host: a\rX: b\r\n"), "bare carriage return"),
        (get("Host: a\r\n folded\r\n"), "folded line"),
        (get(" folded\r\n"), "folded line"),
        (get("Host : a\r\n"), "space before the colon"),
        (get(": a\r\n"), "space before the colon"),
        (get("no colon\r\n"), "header without a colon"),
        (get("Host: a\r\nhost: b\r\n"), "more than one host"),
        (
            "get / HTTP/1.1\r\n".into(),
            "lower-case letter in the method",
        ),
        (
            "GET /#f HTTP/1.1\r\n".into(),
            "fragment in the request target",
        ),
        (
            "GET x HTTP/1.1\r\n".into(),
            "target that is neither a path nor absolute",
        ),
        (
            "GET /\u{e4} HTTP/1.1\r\n".into(),
            "byte above 127 in the request line",
        ),
        (
            format!("{POST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "content-length next to transfer-encoding",
        ),
        (
            format!("{CHUNKED}Content-Length: 3\r\n\r\n"),
            "content-length next to transfer-encoding",
        ),
        (
            format!("{POST}Content-Length: 3\r\nContent-Length: 3\r\n\r\n"),
            "more than one content-length",
        ),
        (
            format!("{POST}Content-Length: 3, 3\r\n\r\n"),
            "invalid content-length",
        ),
        (
            format!("{POST}Content-Length: +3\r\n\r\n"),
            "invalid content-length",
        ),
        (
            format!("{POST}Content-Length: 18446744073709551616\r\n\r\n"),
            "invalid content-length",
        ),
        (
            format!("{POST}Content-Length:\r\n\r\n"),
            "invalid content-length",
        ),
        (
            format!("{POST}Transfer-Encoding: identity\r\n\r\n"),
            "unsupported transfer-encoding",
        ),
        (
            format!("{POST}Transfer-Encoding: gzip, chunked\r\n\r\n"),
            "unsupported transfer-encoding",
        ),
        (
            format!("{CHUNKED}Transfer-Encoding: chunked\r\n\r\n"),
            "unsupported transfer-encoding",
        ),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            "transfer-encoding in HTTP/1.0",
        ),
        (format!("{CHUNKED}\r\n0x5\r\n"), "invalid chunk size"),
        (format!("{CHUNKED}\r\n+5\r\n"), "invalid chunk size"),
        (format!("{CHUNKED}\r\n\r\n"), "invalid chunk size"),
        (format!("{CHUNKED}\r\n5 5\r\n"), "invalid chunk size"),
        (format!("{CHUNKED}\r\n5 \u{c}\r\n"), "invalid chunk size"),
        (
            format!("{CHUNKED}\r\n11111111111111111\r\n"),
            "invalid chunk size",
        ),
        (
            format!("{CHUNKED}\r\n5\nabcde\r\n"),
            "line ends without a carriage return",
        ),
        (
            format!("{CHUNKED}\r\n2\r\nabc\r\n"),
            "chunk longer than its size",
        ),
        (format!("{CHUNKED}\r\n0\r\n folded\r\n\r\n"), "folded line"),
    ];
    for (text, reason) in cases {
        let (messages, rest) = read(&text);
        assert_eq!(rest, Rest::Refused(reason.into(), true), "{text:?}");
        assert_eq!(messages, [], "{text:?}");
    }
}

#[test]
fn what_is_no_http_is_refused() {
    for text in [
        "\u{16}\u{3}\u{1}",
        "GET  / HTTP/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET / HTTP/1.2\r\n",
        "GET /\r\n",
        "GET\r\n",
        "G(T / HTTP/1.1\r\n",
        "GET /` HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nBad Name: 1\r\n",
        "GET / HTTP/1.1\r\nX: a\0b\r\n",
        "GET / HTTP/1.1\r\nX: a\u{7f}b\r\n",
    ] {
        let (_, rest) = read(text);
        assert!(
            matches!(rest, Rest::Refused(_, false)),
            "{text:?}: {rest:?}"
        );
    }
}

#[test]
fn heads_are_bounded() {
    let head = "GET / HTTP/1.1\r\nx: 1\r\ny: 2\r\n\r\n";
    let large = Rest::Refused("the head is too large".into(), false);
    let bounded = |bytes, lines| requests(&[head.as_bytes()], bytes, lines);
    assert_eq!(bounded(head.len(), 2).1, Rest::Nothing);
    assert_eq!(bounded(head.len() - 1, 2).1, large);
    assert_eq!(bounded(head.len(), 1).1, large);
    // Empty lines before a request count, too.
    assert_eq!(requests(&[&b"\r\n".repeat(100)], 150, 9).1, large);
    assert_eq!(
        requests(&[b"GET / HTTP/1.1\r\nx"], 150, 9).1,
        Rest::Incomplete
    );
}

#[test]
fn answers_may_end_lines_without_a_carriage_return() {
    let answer = |text: &str| response(&[text.as_bytes()], &Method::GET);
    let message = answer("HTTP/1.1 200\nX: 1\n\nbody").unwrap().unwrap();
    assert_eq!((&*message.start, &message.body[..]), ("200", &b"body"[..]));
    assert_eq!(message.headers["x"], "1");
}

#[test]
fn answers_are_as_long_as_they_say_and_no_two_ways() {
    let answer = |method: Method, text: &str| response(&[text.as_bytes()], &method);
    let body = |method, text: &str| answer(method, text).map(|message| message.unwrap().body);
    let two = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabc";
    assert_eq!(body(Method::GET, two).unwrap(), b"ab");
    assert_eq!(body(Method::HEAD, two).unwrap(), b"");
    for status in [
        "204 No Content",
        "304 Not Modified",
        "101 Switching Protocols",
    ] {
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nab");
        assert_eq!(body(Method::GET, &text).unwrap(), b"");
    }
    let connected = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab";
    assert_eq!(body(Method::CONNECT, connected).unwrap(), b"");
    let cut = body(
        Method::GET,
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
    );
    assert_eq!(cut, Err(Rest::Incomplete));
    for lines in [
        "content-length: 2\r\ncontent-length: 3",
        "content-length: 2\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip",
        "content-length: 2, 2",
        " folded: 1",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nabc");
        let rest = answer(Method::GET, &text).unwrap_err();
        assert!(matches!(rest, Rest::Refused(_, true)), "{text:?}: {rest:?}");
    }
    for line in [
        "HTTP/2.0 200 OK",
        "HTTP/1.1 20",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 ",
        "ICY 200 OK",
    ] {
        let rest = answer(Method::GET, &format!("{line}\r\n\r\n")).unwrap_err();
        assert!(
            matches!(rest, Rest::Refused(_, false)),
            "{line:?}: {rest:?}"
        );
    }
}
