//! Sends a case to a proxy and tells in few words what became of it.

use super::case::{Case, Port, Step};
use super::frames;
use super::proxies::Proxy;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longer than every timeout of the proxies' configurations.
const PATIENCE: Duration = Duration::from_secs(3);
/// After an answer: whoever closes does it at once.
const QUIET: Duration = Duration::from_millis(300);
/// Answers that are told one by one.
const MANY: usize = 10;
const STEP: Duration = Duration::from_millis(10);
/// Between two pieces of a drip.
const DRIP: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    ended: bool,
}

/// What became of a case: for the table, and for the rules that hold everywhere.
pub struct Verdict {
    pub words: String,
    /// Request lines that reached the service.
    pub forwarded: Vec<String>,
}

pub fn talk(proxy: &Proxy, case: &Case) -> std::io::Result<Verdict> {
    proxy.service.take();
    let port = match case.port {
        Port::Plain => proxy.plain,
        Port::Tls => proxy.tls,
    };
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    // Nobody reads what is answered to a flood in time, perhaps.
    stream.set_write_timeout(Some(PATIENCE))?;
    let received = Arc::new(Mutex::new(Received::default()));
    let reader = {
        let (mut stream, received) = (stream.try_clone()?, received.clone());
        std::thread::spawn(move || read(&mut stream, &received))
    };
    let look = || {
        let received = received.lock().unwrap_or_else(PoisonError::into_inner);
        (received.ended, received.bytes.len())
    };
    send(&stream, case, || look().0);
    let mut changed = (Instant::now(), 0);
    let ended = loop {
        let (ended, length) = look();
        if length != changed.1 {
            changed = (Instant::now(), length);
        }
        if ended {
            break true;
        }
        let waited = changed.0.elapsed();
        let answered = {
            let received = received.lock().unwrap_or_else(PoisonError::into_inner);
            statuses(case, &received.bytes).1
        };
        if waited > PATIENCE || answered && waited > QUIET {
            break false;
        }
        std::thread::sleep(STEP);
    };
    // The reader ends with the connection.
    let _ = stream.shutdown(Shutdown::Both);
    let _ = reader.join();
    let received = received.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(verdict(proxy, case, &received.bytes, ended))
}

fn read(stream: &mut TcpStream, received: &Mutex<Received>) {
    let mut chunk = [0; 16 << 10];
    loop {
        let count = stream.read(&mut chunk).unwrap_or(0);
        let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
        received.bytes.extend_from_slice(&chunk[..count]);
        if count == 0 {
            received.ended = true;
            return;
        }
    }
}

/// Until the other side has had enough.
fn send(mut stream: &TcpStream, case: &Case, ended: impl Fn() -> bool) {
    for step in &case.steps {
        match step {
            Step::Send(bytes) => {
                if stream.write_all(bytes).is_err() {
                    return;
                }
            }
            Step::Drip { piece, times } => {
                for _ in 0..*times {
                    if ended() || stream.write_all(piece).is_err() {
                        return;
                    }
                    std::thread::sleep(DRIP);
                }
            }
            Step::Flood { piece, times } => {
                for number in 0..*times {
                    if ended() || stream.write_all(&piece(number)).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// The answers, and whether one is complete.
fn statuses(case: &Case, bytes: &[u8]) -> (Vec<String>, bool) {
    if case.http2 {
        let (told, complete) = frames::told(bytes);
        // Who does not speak HTTP/2 answers in HTTP/1.
        if !bytes.starts_with(b"HTTP/1.") {
            return (told, complete);
        }
    }
    let (mut statuses, mut rest) = (Vec::new(), bytes);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(head)) = response.parse(rest) else {
            let complete = !statuses.is_empty() && rest.is_empty();
            return (statuses, complete);
        };
        statuses.push(response.code.unwrap_or_default().to_string());
        let length = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
        let body = match response.code {
            Some(100..=199 | 204 | 304) => 0,
            // Without a length, the rest is the body.
            _ => length.unwrap_or(rest.len() - head),
        };
        rest = rest.get(head + body..).unwrap_or_default();
    }
}

fn verdict(proxy: &Proxy, case: &Case, bytes: &[u8], ended: bool) -> Verdict {
    let (mut words, _) = statuses(case, bytes);
    if !case.counted || words.len() > MANY {
        words.dedup();
    }
    if !case.counted {
        words.retain(|word| word.parse::<u16>().is_err() && !word.starts_with("reset"));
    }
    words.push(if ended {
        "closed".into()
    } else {
        "open".into()
    });
    let seen = proxy.service.take();
    for request in seen.iter().filter(|_| case.counted) {
        words.push(format!("`{}` forwarded", request.line));
        let Some(name) = case.shown else { continue };
        let values = request.headers.iter().filter(|(known, _)| known == name);
        let values: Vec<String> = values.map(|(_, value)| format!("`{value}`")).collect();
        words.push(match values.is_empty() {
            true => format!("without {name}"),
            false => format!("{name} {}", values.join(" and ")),
        });
    }
    Verdict {
        words: words
            .join(", ")
            .escape_debug()
            .to_string()
            .replace("\\'", "'")
            .replace("\\\"", "\""),
        forwarded: seen.into_iter().map(|request| request.line).collect(),
    }
}
