//! Clients that hold every answer to the request it belongs to.

use super::service::MOODS;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
const SERVICES: [&str; 2] = ["a", "b"];
/// One request of so many is treated badly: connections are used again between.
const BAD: usize = 4;
static TOKENS: AtomicUsize = AtomicUsize::new(0);

/// What became of requests.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: usize,
    /// With 502, 503 or 504, or by the end of the connection.
    pub failed: usize,
    /// Answers of another service or to another request, and what no proxy should say.
    pub wrong: Vec<String>,
}

/// Sends `requests` on each of `clients` connections, in all moods or only in the fine one.
pub fn run(port: u16, clients: usize, requests: usize, all_moods: bool) -> Tally {
    let one = || {
        let mut tally = Tally::default();
        let mut connection = None;
        for _ in 0..requests {
            let number = TOKENS.fetch_add(1, Ordering::Relaxed);
            let mood = match all_moods && number.is_multiple_of(BAD) {
                true => MOODS[number / BAD % MOODS.len()],
                false => "fine",
            };
            let service = SERVICES[number / 3 % 2];
            connection = ask(port, connection, service, mood, number, &mut tally);
        }
        tally
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .fold(Tally::default(), |mut total, thread| {
                let tally = thread.join().unwrap();
                total.answered += tally.answered;
                total.failed += tally.failed;
                total.wrong.extend(tally.wrong);
                total
            })
    })
}

/// The connection, when it can be used again.
fn ask(
    port: u16,
    connection: Option<TcpStream>,
    service: &str,
    mood: &str,
    number: usize,
    tally: &mut Tally,
) -> Option<TcpStream> {
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok::<_, std::io::Error>(stream)
    };
    let mut stream = match connection.map_or_else(connect, Ok) {
        Ok(stream) => stream,
        Err(error) => {
            tally
                .wrong
                .push(format!("the proxy does not accept: {error}"));
            return None;
        }
    };
    let request = format!("GET /{service}/{mood}/t{number} HTTP/1.1\r\nHost: chaos.test\r\n\r\n");
    if stream.write_all(request.as_bytes()).is_err() {
        tally.failed += 1;
        return None;
    }
    let Some((status, body, closes)) = answer(&mut stream) else {
        tally.failed += 1;
        return None;
    };
    match status {
        200 if body == format!("{service} t{number}") => tally.answered += 1,
        502..=504 => tally.failed += 1,
        _ => tally.wrong.push(format!(
            "{service} t{number} in mood {mood} got {status} {body:?}"
        )),
    }
    (!closes).then_some(stream)
}

/// Status, body, and whether the connection ends; none when it ended before.
fn answer(stream: &mut TcpStream) -> Option<(u16, String, bool)> {
    let (mut buffer, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        if let Ok(httparse::Status::Complete(head)) = response.parse(&buffer) {
            let header = |name: &str| {
                let found = response
                    .headers
                    .iter()
                    .find(|header| header.name.eq_ignore_ascii_case(name));
                found.map(|header| String::from_utf8_lossy(header.value).into_owned())
            };
            let length: usize = header("content-length").and_then(|text| text.parse().ok())?;
            let closes = header("connection").is_some_and(|value| value == "close");
            if buffer.len() >= head + length {
                let body = String::from_utf8_lossy(&buffer[head..head + length]).into_owned();
                return Some((response.code?, body, closes));
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}
