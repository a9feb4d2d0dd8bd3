//! Requests that are wrong, doubtful, or too large: where messages begin and end, and what
//! could be smuggled.

use crate::bootstrap::{Config, any_host, clusters, http_listener};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "framing",
        config: |upstreams| config(upstreams, closing_soon()),
        cases,
    }
}

pub fn limits() -> Group {
    Group {
        name: "limits",
        config: limited,
        cases: limit_cases,
    }
}

/// Envoy gives a client a second to read a refusal; the cases wait for the end of it.
fn closing_soon() -> Value {
    json!({ "delayed_close_timeout": "0.1s" })
}

fn limited(upstreams: &Upstreams) -> Config {
    let mut more = closing_soon();
    let limits = json!({
        "max_request_headers_kb": 4,
        "common_http_protocol_options": { "max_headers_count": 20 },
        "http_protocol_options": { "accept_http_10": true, "default_host_for_http_10": "old.test" },
        "request_headers_timeout": "0.3s",
        "request_timeout": "0.5s",
    });
    more.as_object_mut()
        .unwrap()
        .extend(limits.as_object().unwrap().clone());
    config(upstreams, more)
}

fn config(upstreams: &Upstreams, more: Value) -> Config {
    let routes =
        json!([{ "match": { "prefix": "/" }, "route": { "cluster": "a", "timeout": "5s" } }]);
    Config {
        listeners: vec![http_listener(any_host(routes), more)],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

/// A POST with these header lines and this body.
fn post(name: &'static str, lines: &str, body: &str) -> Case {
    Case::raw(
        name,
        format!("POST /x HTTP/1.1\r\nHost: app.test\r\n{lines}\r\n{body}"),
    )
}

fn cases() -> Vec<Case> {
    const SMUGGLED: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n";
    let mut cases = vec![
        post(
            "chunked",
            "Transfer-Encoding: chunked\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        post(
            "chunked with an extension",
            "Transfer-Encoding: chunked\r\n",
            "3;a=b\r\nabc\r\n0\r\n\r\n",
        ),
        post(
            "chunked with trailers",
            "Transfer-Encoding: chunked\r\n",
            "3\r\nabc\r\n0\r\nx-trailer: 1\r\n\r\n",
        ),
        post(
            "chunked in capitals",
            "Transfer-Encoding: CHUNKED\r\n",
            "0\r\n\r\n",
        ),
        post(
            "length and chunked",
            "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
            SMUGGLED,
        )
        .closing(),
        post(
            "chunked and length",
            "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
            SMUGGLED,
        )
        .closing(),
        post(
            "two lengths",
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "abcd",
        )
        .closing(),
        post(
            "the same length twice",
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "abc",
        ),
        post("a list of lengths", "Content-Length: 3, 3\r\n", "abc"),
        post("a length with a sign", "Content-Length: +3\r\n", "abc").closing(),
        post("a negative length", "Content-Length: -1\r\n", "").closing(),
        post("a length that is no number", "Content-Length: abc\r\n", "").closing(),
        post(
            "a length beyond 64 bits",
            "Content-Length: 18446744073709551616\r\n",
            "",
        )
        .closing(),
        post("an empty length", "Content-Length:\r\n", "").closing(),
        post(
            "an encoding that nobody knows",
            "Transfer-Encoding: identity\r\n",
            "",
        )
        .closing(),
        post(
            "chunked, not last",
            "Transfer-Encoding: chunked, gzip\r\n",
            SMUGGLED,
        )
        .closing(),
        post(
            "chunked after gzip",
            "Transfer-Encoding: gzip, chunked\r\n",
            "0\r\n\r\n",
        )
        .closing(),
        post(
            "chunked twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        )
        .closing(),
        post(
            "chunked with a tab",
            "Transfer-Encoding:\tchunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "chunked behind a blank",
            "Transfer-Encoding : chunked\r\n",
            SMUGGLED,
        )
        .closing(),
        post(
            "a chunk size that is no number",
            "Transfer-Encoding: chunked\r\n",
            "xyz\r\nabc\r\n0\r\n\r\n",
        )
        .logs(1),
        post(
            "a chunk size beyond 64 bits",
            "Transfer-Encoding: chunked\r\n",
            "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        )
        .logs(1),
        post(
            "a chunk longer than its size",
            "Transfer-Encoding: chunked\r\n",
            "3\r\nabcdef\r\n0\r\n\r\n",
        )
        .logs(1),
        post("a header name with a blank", "Bad Name: 1\r\n", "").closing(),
        post("a header without a colon", "nothing\r\n", "").closing(),
        post("a header that continues", "X-A: 1\r\n 2\r\n", ""),
        post("a header with NUL", "X-A: a\0b\r\n", "").closing(),
        post("a header with a bare CR", "X-A: a\rb\r\n", ""),
        post("an empty header name", ": 1\r\n", "").closing(),
        post("a header value of bytes above 127", "X-A: \u{e4}\r\n", ""),
        post("an empty header value", "X-A:\r\n", ""),
        post("blanks around a value", "X-A:   a b  \t\r\n", ""),
    ];
    cases.extend(lines());
    cases
}

/// The request line and the host.
fn lines() -> Vec<Case> {
    let raw = |name, bytes: &'static str| Case::raw(name, bytes);
    vec![
        raw(
            "two requests at once",
            "GET /1 HTTP/1.1\r\nHost: app.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: app.test\r\n\r\n",
        )
        .answers(2)
        .logs(2),
        raw(
            "empty lines before the request",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
        ),
        raw("bare line feeds", "GET / HTTP/1.1\nHost: app.test\n\n"),
        raw("no host", "GET / HTTP/1.1\r\n\r\n").closing(),
        raw(
            "two hosts",
            "GET / HTTP/1.1\r\nHost: app.test\r\nHost: other.test\r\n\r\n",
        ),
        raw("an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        raw("a host with a slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n").closing(),
        raw(
            "a host with a user",
            "GET / HTTP/1.1\r\nHost: user@app.test\r\n\r\n",
        ),
        raw("version 1.0", "GET / HTTP/1.0\r\nHost: app.test\r\n\r\n").closing(),
        raw(
            "version 2.0 in text",
            "GET / HTTP/2.0\r\nHost: app.test\r\n\r\n",
        )
        .closing(),
        raw("version 1.2", "GET / HTTP/1.2\r\nHost: app.test\r\n\r\n").closing(),
        raw("no version", "GET /\r\n\r\n").closing(),
        raw(
            "a method with a bracket",
            "G(T / HTTP/1.1\r\nHost: app.test\r\n\r\n",
        )
        .closing(),
        raw(
            "a method in lower case",
            "get / HTTP/1.1\r\nHost: app.test\r\n\r\n",
        ),
        raw(
            "blanks in the request line",
            "GET  /  HTTP/1.1\r\nHost: app.test\r\n\r\n",
        ),
        raw("TLS to a plain port", "\u{16}\u{3}\u{1}\0\u{a5}\u{1}\0\0").closing(),
        raw(
            "CONNECT",
            "CONNECT app.test:443 HTTP/1.1\r\nHost: app.test:443\r\n\r\n",
        )
        .closing(),
        raw("TRACE", "TRACE / HTTP/1.1\r\nHost: app.test\r\n\r\n"),
        Case::raw(
            "a GET with a body",
            "GET / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\nabc",
        ),
    ]
}

fn limit_cases() -> Vec<Case> {
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("x-{n}: 1\r\n"))
            .collect::<String>()
    };
    let long = |length: usize| format!("x-long: {}\r\n", "a".repeat(length));
    let get = |name, lines: String| {
        Case::raw(
            name,
            format!("GET / HTTP/1.1\r\nHost: app.test\r\n{lines}\r\n"),
        )
    };
    vec![
        get("headers below the limit", long(3000)),
        get("headers above the limit", long(5000)).closing(),
        Case::raw(
            "a path above the limit",
            format!(
                "GET /{} HTTP/1.1\r\nHost: app.test\r\n\r\n",
                "a".repeat(5000)
            ),
        )
        .closing(),
        get("headers below the count", many(10)),
        get("headers above the count", many(40)).closing(),
        Case::raw("version 1.0", "GET / HTTP/1.0\r\nHost: app.test\r\n\r\n").closing(),
        Case::raw("version 1.0 without a host", "GET / HTTP/1.0\r\n\r\n").closing(),
        Case::raw(
            "version 1.0 kept alive",
            "GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n",
        ),
        Case::raw(
            "headers that do not end",
            "GET / HTTP/1.1\r\nHost: app.test\r\n",
        )
        .closing(),
        Case::raw(
            "a body that does not end",
            "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\nabc",
        ),
    ]
}
