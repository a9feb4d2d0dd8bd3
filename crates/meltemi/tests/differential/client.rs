//! The clients: one that sends bytes as they are and reads what comes back, one that speaks
//! HTTP/2.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Bound on waiting for bytes.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// An answer, headers lower-cased and in the order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Interim answers before it.
    pub interim: Vec<u16>,
}

/// What a connection brought: the answers, then how it stood.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub answers: Vec<Answer>,
    /// `open`, `closed`, `reset`, or bytes that are no answer.
    pub end: String,
}

/// Bytes to send, what to wait for.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub bytes: Vec<u8>,
    /// Answers to wait for; fewer when the connection ends before.
    pub answers: usize,
    /// The request was HEAD: answers have no body.
    pub head: bool,
    /// Wait until the server closes.
    pub until_closed: bool,
    /// Sent after the last answer; as many bytes are waited for.
    pub then: Vec<u8>,
    /// The bytes are no HTTP: read until the end.
    pub opaque: bool,
}

pub fn exchange(port: u16, exchange: &Exchange) -> std::io::Result<Received> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    // A server may refuse early and close: its answer is still to be read.
    let _ = stream.write_all(&exchange.bytes);
    let mut reader = Reader {
        stream,
        connects: exchange.bytes.starts_with(b"CONNECT "),
        buffer: Vec::new(),
    };
    let mut received = Received::default();
    if exchange.opaque {
        let end = reader.read_to_end();
        received.end = format!(
            "{end} {}",
            String::from_utf8_lossy(&reader.buffer).escape_debug()
        );
        return Ok(received);
    }
    while received.answers.len() < exchange.answers {
        match reader.answer(exchange.head) {
            Ok(answer) => received.answers.push(answer),
            Err(end) => {
                received.end = end;
                return Ok(received);
            }
        }
    }
    if !exchange.then.is_empty() {
        reader.stream.write_all(&exchange.then)?;
        let end = reader.at_least(exchange.then.len());
        received.end = format!(
            "{end} {}",
            String::from_utf8_lossy(&reader.buffer).escape_debug()
        );
    } else if exchange.until_closed {
        received.end = reader.read_to_end();
    } else {
        received.end = "not looked at".into();
    }
    Ok(received)
}

struct Reader {
    stream: TcpStream,
    /// What follows an answer that accepts is no body.
    connects: bool,
    buffer: Vec<u8>,
}

impl Reader {
    /// Reads once; the connection's state when there was nothing to read.
    fn more(&mut self) -> Result<(), String> {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err("closed".into()),
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Err("reset".into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err("open".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn read_to_end(&mut self) -> String {
        loop {
            if let Err(end) = self.more() {
                return end;
            }
        }
    }

    fn at_least(&mut self, count: usize) -> String {
        while self.buffer.len() < count {
            if let Err(end) = self.more() {
                return end;
            }
        }
        "open".into()
    }

    fn answer(&mut self, head: bool) -> Result<Answer, String> {
        let mut interim = Vec::new();
        loop {
            let mut answer = self.head()?;
            if (100..200).contains(&answer.status) && answer.status != 101 {
                interim.push(answer.status);
                continue;
            }
            answer.interim = interim;
            let tunnel = self.connects && (200..300).contains(&answer.status);
            if !head && !tunnel && !matches!(answer.status, 101 | 204 | 304) {
                self.body(&mut answer)?;
            }
            return Ok(answer);
        }
    }

    fn head(&mut self) -> Result<Answer, String> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 256];
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(&self.buffer) {
                Ok(httparse::Status::Complete(length)) => {
                    let header = |h: &httparse::Header<'_>| {
                        let value = String::from_utf8_lossy(h.value).into_owned();
                        (h.name.to_ascii_lowercase(), value)
                    };
                    let answer = Answer {
                        status: response.code.unwrap_or_default(),
                        headers: response.headers.iter().map(header).collect(),
                        ..Answer::default()
                    };
                    self.buffer.drain(..length);
                    return Ok(answer);
                }
                Ok(httparse::Status::Partial) => {
                    self.more().map_err(|end| match self.buffer.is_empty() {
                        true => end,
                        false => format!("{end} within a head"),
                    })?;
                }
                Err(error) => return Err(format!("no HTTP: {error}")),
            }
        }
    }

    fn body(&mut self, answer: &mut Answer) -> Result<(), String> {
        let header = |name: &str| {
            let found = answer.headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        let chunked = header("transfer-encoding").is_some();
        let length = header("content-length").and_then(|text| text.parse::<usize>().ok());
        loop {
            let end = match (chunked, length) {
                (true, _) => chunked_end(&self.buffer),
                (false, Some(length)) => (self.buffer.len() >= length).then_some(length),
                (false, None) => None,
            };
            if let Some(end) = end {
                let body: Vec<u8> = self.buffer.drain(..end).collect();
                answer.body = if chunked { unchunk(&body) } else { body };
                return Ok(());
            }
            if let Err(end) = self.more() {
                answer.body = std::mem::take(&mut self.buffer);
                if chunked || length.is_some() {
                    answer
                        .body
                        .extend_from_slice(format!(" ({end} within the body)").as_bytes());
                }
                return Ok(());
            }
        }
    }
}

/// Length of a chunked body without trailers, once it is complete.
pub fn chunked_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = bytes[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        at += line + 2 + size + 2;
        if bytes.len() < at {
            return None;
        }
        if size == 0 {
            return Some(at);
        }
    }
}

/// The content of a complete chunked body.
pub fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(line) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..line])
            .ok()
            .and_then(|text| text.split(';').next());
        let size = size
            .and_then(|text| usize::from_str_radix(text.trim(), 16).ok())
            .unwrap_or(0);
        let Some(chunk) = bytes.get(line + 2..line + 2 + size) else {
            break;
        };
        out.extend_from_slice(chunk);
        bytes = bytes.get(line + 2 + size + 2..).unwrap_or_default();
    }
    out
}

/// Sends one request by HTTP/2 with prior knowledge.
pub async fn http2(port: u16, request: http::Request<Full<Bytes>>) -> Result<Received, String> {
    let work = async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .map_err(std::io::Error::other)?;
        let connection = tokio::spawn(connection);
        let result = sender.send_request(request).await;
        let mut received = Received::default();
        match result {
            Ok(response) => received.answers.push(answer_of(response).await),
            Err(error) => received.end = format!("{error:?}"),
        }
        connection.abort();
        Ok(received)
    };
    let result = tokio::time::timeout(PATIENCE, work).await;
    let result: std::io::Result<Received> = result.map_err(|_| "no answer".to_owned())?;
    result.map_err(|error| error.to_string())
}

pub async fn answer_of(response: http::Response<hyper::body::Incoming>) -> Answer {
    let mut answer = Answer {
        status: response.status().as_u16(),
        headers: pairs(response.headers()),
        ..Answer::default()
    };
    match response.into_body().collect().await {
        Ok(body) => {
            answer.trailers = body.trailers().map(pairs).unwrap_or_default();
            answer.body = body.to_bytes().to_vec();
        }
        Err(error) => answer.body = format!("broken off: {error:?}").into_bytes(),
    }
    answer
}

/// Names and values, in order.
pub fn pairs(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let pair = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    };
    headers.iter().map(pair).collect()
}
