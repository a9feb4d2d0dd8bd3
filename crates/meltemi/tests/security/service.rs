//! The service behind a proxy: it answers whatever looks like a request, and remembers it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longer than any case takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer of its own, with a status that nobody else gives, behind another.
const HIDDEN: &str = "HTTP/1.1 299 Hidden\r\ncontent-length: 0\r\n\r\n";

type Lie = fn() -> String;

/// Answers by what is wrong with them.
pub const LIES: &[(&str, Lie)] = &[
    ("a second answer that nobody asked for", || {
        format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n{HIDDEN}")
    }),
    ("a length and chunks", || {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
        )
    }),
    ("two lengths", || {
        format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 50\r\n\r\n{HIDDEN}")
    }),
    ("an encoding that nobody knows", || {
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: x\r\n\r\n{HIDDEN}")
    }),
    ("a body with 204", || {
        format!(
            "HTTP/1.1 204 No Content\r\ncontent-length: {}\r\n\r\n{HIDDEN}",
            HIDDEN.len()
        )
    }),
    ("protocols switched unasked", || {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n{HIDDEN}"
        )
    }),
    ("a folded header", || {
        "HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\ncontent-length: 0\r\n\r\n".into()
    }),
    ("NUL in a value", || {
        "HTTP/1.1 200 OK\r\nx-a: b\0c\r\ncontent-length: 0\r\n\r\n".into()
    }),
    ("bare line feeds", || {
        "HTTP/1.1 200 OK\ncontent-length: 0\n\n".into()
    }),
    ("a chunk's size beyond 64 bits", || {
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\nab\r\n0\r\n\r\n"
            .into()
    }),
    ("a header of 100 kB", || {
        format!(
            "HTTP/1.1 200 OK\r\nx-a: {}\r\ncontent-length: 0\r\n\r\n",
            "b".repeat(100_000)
        )
    }),
    ("two thousand headers", || {
        format!(
            "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n",
            "x-a: b\r\n".repeat(2000)
        )
    }),
    ("ten thousand hints", || {
        format!(
            "{}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10_000)
        )
    }),
    ("no HTTP", || "220 mail.test\r\n".into()),
];

/// Where a lie is told.
pub fn target_of(lie: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("/lies/{}", lie.chars().map(letter).collect::<String>())
}

/// Bytes of `/large`.
const LARGE: usize = 1 << 20;

#[derive(Clone)]
pub struct Request {
    pub line: String,
    /// As received, names in lower case.
    pub headers: Vec<(String, String)>,
}

#[derive(Clone)]
pub struct Service {
    pub port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Service {
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let service = Self {
            port: listener.local_addr()?.port(),
            seen: Arc::default(),
        };
        let own = service.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || own.serve(stream));
            }
        });
        Ok(service)
    }

    /// What came since the last time.
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let (mut buffer, mut chunk) = (Vec::new(), [0; 16 << 10]);
        loop {
            while let Some((request, length)) = parse(&buffer) {
                buffer.drain(..length);
                let answer = answer(&request);
                self.seen
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(request);
                stream.write_all(answer.as_bytes())?;
            }
            match stream.read(&mut chunk)? {
                0 => return Ok(()),
                count => buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

fn answer(request: &Request) -> String {
    let target = request.line.split(' ').nth(1).unwrap_or_default();
    if let Some((_, lie)) = LIES.iter().find(|(name, _)| target_of(name) == target) {
        return lie();
    }
    let body = match target {
        "/large" => "x".repeat(LARGE),
        _ => "served".into(),
    };
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A complete request at the beginning, and its length.
fn parse(buffer: &[u8]) -> Option<(Request, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 2048];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return None,
        Err(error) => {
            let request = Request {
                line: format!("garbage ({error})"),
                headers: Vec::new(),
            };
            return (!buffer.is_empty()).then_some((request, buffer.len()));
        }
    };
    let request = Request {
        line: format!("{} {}", parsed.method?, parsed.path?),
        headers: parsed
            .headers
            .iter()
            .map(|header| {
                let value = String::from_utf8_lossy(header.value).into_owned();
                (header.name.to_ascii_lowercase(), value)
            })
            .collect(),
    };
    let header = |name: &str| request.headers.iter().find(|(known, _)| known == name);
    let rest = &buffer[head..];
    let body = match (header("transfer-encoding"), header("content-length")) {
        (Some(_), _) => chunked(rest)?,
        (None, Some((_, length))) => length.parse().ok()?,
        (None, None) => 0,
    };
    (rest.len() >= body).then_some((request, head + body))
}

/// The length of a complete chunked body.
fn chunked(bytes: &[u8]) -> Option<usize> {
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
