//! Requests in HTTP/1 that two readers may understand in two ways.

use crate::case::Case;

/// What is hidden in the body of another request.
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn post(name: &'static str, headers: &str, rest: &str) -> Case {
    Case::http1(
        name,
        format!("POST / HTTP/1.1\r\nHost: a.test\r\n{headers}\r\n{rest}"),
    )
}

fn get(name: &'static str, headers: &str) -> Case {
    Case::http1(name, format!("GET / HTTP/1.1\r\n{headers}\r\n"))
}

pub fn framing() -> Vec<Case> {
    let hidden = |name, headers: &str| post(name, headers, &format!("0\r\n\r\n{HIDDEN}"));
    let chunked = |name, body: &str| post(name, "Transfer-Encoding: chunked\r\n", body);
    vec![
        hidden(
            "a length and chunks",
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        ),
        hidden(
            "chunks and a length",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        ),
        post(
            "two lengths that differ",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "ab",
        ),
        post(
            "two lengths that agree",
            "Content-Length: 2\r\nContent-Length: 2\r\n",
            "ab",
        ),
        post("lengths in a list", "Content-Length: 2, 3\r\n", "abc"),
        post("a length with a sign", "Content-Length: +2\r\n", "ab"),
        post("a negative length", "Content-Length: -1\r\n", ""),
        post("a length in hexadecimal", "Content-Length: 0x2\r\n", "ab"),
        post(
            "a length beyond 64 bits",
            "Content-Length: 18446744073709551618\r\n",
            "ab",
        ),
        hidden(
            "an encoding that nobody knows",
            "Transfer-Encoding: xchunked\r\n",
        ),
        hidden(
            "chunked, then another encoding",
            "Transfer-Encoding: chunked, identity\r\n",
        ),
        hidden(
            "chunked in two lines",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ),
        hidden(
            "a blank before the colon",
            "Transfer-Encoding : chunked\r\n",
        ),
        hidden(
            "a vertical tab before the value",
            "Transfer-Encoding:\u{b}chunked\r\n",
        ),
        hidden(
            "an encoding on a folded line",
            "Transfer-Encoding:\r\n chunked\r\n",
        ),
        hidden(
            "an encoding after a bare line feed",
            "X: y\nTransfer-Encoding: chunked\r\n",
        ),
        hidden(
            "an encoding after a bare carriage return",
            "X: y\rTransfer-Encoding: chunked\r\n",
        ),
        Case::http1(
            "chunks in HTTP/1.0",
            format!(
                "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
            ),
        ),
        chunked("a chunk with an extension", "2;x=y\r\nab\r\n0\r\n\r\n"),
        chunked(
            "a line feed within an extension",
            &format!("2;\nxx\r\nab\r\n0\r\n\r\n{HIDDEN}"),
        ),
        chunked(
            "an extension of 100 kB",
            &format!("2;{}\r\nab\r\n0\r\n\r\n", "x".repeat(100_000)),
        ),
        chunked("chunks that end with bare line feeds", "2\nab\n0\n\n"),
        chunked("a chunk longer than its size", "2\r\nabcd\r\n0\r\n\r\n"),
        chunked(
            "a chunk's size beyond 64 bits",
            "10000000000000002\r\nab\r\n0\r\n\r\n",
        ),
        chunked("a chunk's size with 0x", "0x2\r\nab\r\n0\r\n\r\n"),
        chunked("a chunk's size with a sign", "-2\r\nab\r\n0\r\n\r\n"),
        chunked("trailers with a length", "0\r\nContent-Length: 50\r\n\r\n"),
        chunked(
            "trailers of 100 kB",
            &format!("0\r\nX: {}\r\n\r\n", "x".repeat(100_000)),
        ),
        post(
            "a request behind an upgrade that is not made",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            HIDDEN,
        ),
        Case::http1(
            "a body with GET",
            format!(
                "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{HIDDEN}",
                HIDDEN.len()
            ),
        ),
        post(
            "an expectation that nobody knows",
            "Expect: 200-ok\r\nContent-Length: 2\r\n",
            "ab",
        ),
    ]
}

pub fn heads() -> Vec<Case> {
    let many: String = (0..2000)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    let host = "Host: a.test\r\n";
    vec![
        Case::http1("bare line feeds", "GET / HTTP/1.1\nHost: a.test\n\n"),
        get("a folded header", &format!("{host}X-A: b\r\n c\r\n")).showing("x-a"),
        get(
            "a header before which there is a blank",
            &format!(" X-A: b\r\n{host}"),
        ),
        get("NUL in a value", &format!("{host}X-A: b\0c\r\n")).showing("x-a"),
        get(
            "a carriage return in a value",
            &format!("{host}X-A: b\rX-B: c\r\n"),
        )
        .showing("x-a"),
        get("an escape in a name", &format!("{host}X\x1b: b\r\n")),
        get("a name with a blank", &format!("{host}X A: b\r\n")),
        get("a header without a name", &format!("{host}: b\r\n")),
        get("a header without a colon", &format!("{host}nothing\r\n")),
        get("no host", "X-A: b\r\n"),
        get("two hosts", "Host: a.test\r\nHost: b.test\r\n").showing("host"),
        get("a list of hosts", "Host: a.test, b.test\r\n").showing("host"),
        get("a host with a path", "Host: a.test/admin\r\n").showing("host"),
        get("a host with a user", "Host: me@a.test\r\n").showing("host"),
        get("a host with a caret", "Host: a^b\r\n").showing("host"),
        Case::http1(
            "a target with another host",
            "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        )
        .showing("host"),
        Case::http1(
            "a blank within the target",
            "GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
        Case::http1(
            "a method with a slash",
            "GE/T / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
        Case::http1(
            "a version that nobody speaks",
            "GET / HTTP/1.7\r\nHost: a.test\r\n\r\n",
        ),
        Case::http1("HTTP/0.9", "GET /\r\n"),
        get(
            "what Connection nominates",
            &format!("{host}Connection: X-A, close\r\nX-A: b\r\n"),
        )
        .showing("x-a"),
        get(
            "the host nominated by Connection",
            &format!("{host}Connection: host\r\n"),
        )
        .showing("host"),
        get(
            "a forged x-envoy-original-path",
            &format!("{host}X-Envoy-Original-Path: /admin\r\n"),
        )
        .showing("x-envoy-original-path"),
        get(
            "a forged x-envoy-internal",
            &format!("{host}X-Envoy-Internal: true\r\nX-Forwarded-For: 203.0.113.5\r\n"),
        )
        .showing("x-forwarded-for"),
        get(
            "a header of 100 kB",
            &format!("{host}X-A: {}\r\n", "x".repeat(100_000)),
        ),
        get("two thousand headers", &format!("{host}{many}")),
        Case::http1(
            "a target of 100 kB",
            format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(100_000)),
        ),
    ]
}
