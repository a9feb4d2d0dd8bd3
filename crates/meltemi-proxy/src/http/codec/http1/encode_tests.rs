use super::*;
use http_body_util::{Empty, Full, StreamBody};
use std::convert::Infallible;

const ASKED: Asked = Asked {
    head: false,
    connect: false,
    http10: false,
    keeps: true,
};

fn unknown() -> impl Body {
    StreamBody::new(futures_util::stream::pending::<
        Result<http_body::Frame<Bytes>, Infallible>,
    >())
}

/// The lines after the first, but for the date; and what is to be sent of the body.
fn answer(
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: &impl Body,
    asked: Asked,
    keeps: bool,
) -> (String, Vec<String>, Encoder) {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let (parts, ()) = response.body(()).unwrap().into_parts();
    let mut out = Vec::new();
    let encoder = response_of(&parts, body, asked, keeps, &mut out);
    let text = String::from_utf8(out).unwrap();
    let mut lines = text
        .strip_suffix("\r\n\r\n")
        .unwrap()
        .split("\r\n")
        .map(str::to_owned);
    let first = lines.next().unwrap();
    let (date, rest): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("date: "));
    assert_eq!(date.len(), 1);
    (first, rest, encoder)
}

fn response_of(
    parts: &response::Parts,
    body: &impl Body,
    asked: Asked,
    keeps: bool,
    out: &mut Vec<u8>,
) -> Encoder {
    response(parts, body, asked, keeps, false, out)
}

#[test]
fn an_answers_length_is_its_bodys() {
    let none = Empty::<Bytes>::new();
    let two = Full::new(Bytes::from_static(b"ab"));
    let wrong = [
        ("content-length", "7"),
        ("transfer-encoding", "gzip"),
        ("x", "1"),
    ];
    let of = |status, body: &Full<Bytes>, asked| {
        let (first, lines, encoder) = answer(status, &wrong, body, asked, true);
        (first, lines.join("|"), encoder)
    };
    let line = |first: &str, lines: &str, encoder| (first.to_owned(), lines.to_owned(), encoder);
    let ok = "HTTP/1.1 200 OK";
    assert_eq!(
        of(200, &two, ASKED),
        line(ok, "x: 1|content-length: 2", Encoder::Length(2))
    );
    let (_, lines, encoder) = answer(200, &[("x", "1")], &none, ASKED, true);
    assert_eq!(
        (lines.join("|"), encoder),
        ("x: 1|content-length: 0".into(), Encoder::Length(0))
    );
    let head = Asked {
        head: true,
        ..ASKED
    };
    assert_eq!(
        of(200, &two, head),
        line(ok, "x: 1|content-length: 7", Encoder::Nothing)
    );
    assert_eq!(of(304, &two, head).1, "x: 1");
    assert_eq!(
        of(204, &two, ASKED),
        line("HTTP/1.1 204 No Content", "x: 1", Encoder::Nothing)
    );
    assert_eq!(of(304, &two, ASKED).2, Encoder::Nothing);
    let connect = Asked {
        connect: true,
        ..ASKED
    };
    assert_eq!(of(200, &two, connect).2, Encoder::Nothing);
    assert_eq!(of(502, &two, connect).2, Encoder::Length(2));
    let (_, lines, encoder) = answer(200, &[], &unknown(), ASKED, true);
    assert_eq!(
        (lines.join("|"), encoder),
        ("transfer-encoding: chunked".into(), Encoder::Chunked)
    );
}

#[test]
fn old_clients_get_what_they_understand() {
    let old = Asked {
        http10: true,
        ..ASKED
    };
    let two = Full::new(Bytes::from_static(b"ab"));
    let (first, lines, encoder) = answer(200, &[], &two, old, true);
    assert_eq!(first, "HTTP/1.0 200 OK");
    assert_eq!(lines, ["content-length: 2", "connection: keep-alive"]);
    assert_eq!(encoder, Encoder::Length(2));
    let (_, lines, encoder) = answer(200, &[], &unknown(), old, true);
    assert_eq!(
        (&*lines[0], encoder),
        ("connection: close", Encoder::UntilClose)
    );
}

#[test]
fn the_end_of_a_connection_is_said_once() {
    let none = Empty::<Bytes>::new();
    let close = [("connection", "close")];
    for headers in [&close[..], &[]] {
        let (_, lines, _) = answer(200, headers, &none, ASKED, false);
        let said = lines.iter().filter(|line| *line == "connection: close");
        assert_eq!(said.count(), 1);
    }
    let upgrade = [("connection", "upgrade")];
    let (_, lines, encoder) = answer(101, &upgrade, &none, ASKED, false);
    assert_eq!(
        (lines, encoder),
        (vec!["connection: upgrade".into()], Encoder::Nothing)
    );
}

#[test]
fn a_requests_length_is_its_bodys() {
    let of = |method: &str,
              length: Option<&str>,
              body: &dyn Fn(&request::Parts, &mut Vec<u8>) -> Encoder| {
        let mut request = http::Request::builder().method(method).uri("/p?q");
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut out = Vec::new();
        let encoder = body(&parts, &mut out);
        (String::from_utf8(out).unwrap(), encoder)
    };
    let none: &dyn Fn(&request::Parts, &mut Vec<u8>) -> Encoder =
        &|parts, out| request(parts, &Empty::<Bytes>::new(), false, out);
    let stream: &dyn Fn(&request::Parts, &mut Vec<u8>) -> Encoder =
        &|parts, out| request(parts, &unknown(), false, out);
    let (text, encoder) = of("GET", None, none);
    assert_eq!(
        (&*text, encoder),
        ("GET /p?q HTTP/1.1\r\n\r\n", Encoder::Nothing)
    );
    let (text, encoder) = of("POST", Some("9"), none);
    assert!(
        text.contains("content-length: 0\r\n") && encoder.is_done(),
        "{text}"
    );
    let (text, encoder) = of("PUT", Some("9"), stream);
    assert!(text.contains("content-length: 9\r\n"), "{text}");
    assert_eq!(encoder, Encoder::Length(9));
    let (text, encoder) = of("GET", None, stream);
    assert!(text.contains("transfer-encoding: chunked\r\n"), "{text}");
    assert_eq!(encoder, Encoder::Chunked);
}

#[test]
fn bodies_are_neither_longer_nor_shorter_than_was_said() {
    let mut out = Output::default();
    let data = || Bytes::from_static(b"abc");
    assert!(Encoder::Length(2).data(data(), false, &mut out).is_err());
    let mut encoder = Encoder::Length(4);
    encoder.data(data(), false, &mut out).unwrap();
    assert!(!encoder.is_done() && encoder.end(None, &mut out).is_err());
}

#[test]
fn chunks_end_once_and_trailers_say_nothing_of_the_framing() {
    let mut out = Output::default();
    let mut encoder = Encoder::Chunked;
    encoder.data(Bytes::new(), false, &mut out).unwrap();
    encoder
        .data(Bytes::from_static(b"abcdefghijklmnop"), true, &mut out)
        .unwrap();
    encoder.end(None, &mut out).unwrap();
    assert_eq!(out.buffer(), b"10\r\nabcdefghijklmnop\r\n0\r\n\r\n");
    let mut out = Output::default();
    let mut trailers = HeaderMap::new();
    for name in ["x-sum", "content-length", "transfer-encoding", "connection"] {
        trailers.insert(name, http::HeaderValue::from_static("1"));
    }
    Encoder::Chunked.end(Some(&trailers), &mut out).unwrap();
    assert_eq!(out.buffer(), b"0\r\nx-sum: 1\r\n\r\n");
}
