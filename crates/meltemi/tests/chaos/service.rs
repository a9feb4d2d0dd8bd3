//! A service in the moods that requests ask for. Each answer names the service and the request
//! it belongs to.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// How a request can be treated, but for well.
pub const MOODS: &[&str] = &[
    "reset", "stall", "early", "garbage", "vanish", "partial", "extra",
];
/// Longer than the proxy waits for an answer.
const STALLED: Duration = Duration::from_secs(2);

/// Serves until the process ends; the port.
pub fn start(name: &'static str) -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream, name));
        }
    });
    Ok(port)
}

fn serve(mut stream: TcpStream, name: &str) -> io::Result<()> {
    let (mut buffer, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut chunk)? {
                0 => return Ok(()),
                count => buffer.extend_from_slice(&chunk[..count]),
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        // `GET /SERVICE/MOOD/TOKEN HTTP/1.1`
        let target = head.split(' ').nth(1).unwrap_or_default();
        let parts: Vec<&str> = target.split('/').collect();
        let [_, _, mood, token] = parts[..] else {
            return Ok(());
        };
        let body = format!("{name} {token}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        match mood {
            "reset" => {
                let linger = libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                };
                nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger)?;
                return Ok(());
            }
            "stall" => std::thread::sleep(STALLED),
            // Before the request's body, which the proxy may still be sending.
            "early" => {
                stream.write_all(
                    answer
                        .replace("OK\r\n", "OK\r\nconnection: close\r\n")
                        .as_bytes(),
                )?;
                return Ok(());
            }
            "garbage" => {
                stream.write_all(format!("{body}\r\n\r\n").as_bytes())?;
                return Ok(());
            }
            "vanish" => {
                stream.write_all(answer.as_bytes())?;
                return Ok(());
            }
            "partial" => {
                stream.write_all(&answer.as_bytes()[..answer.len() - 3])?;
                return Ok(());
            }
            // What nobody asked for must not become the next request's answer.
            "extra" => stream.write_all(
                format!("{answer}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong").as_bytes(),
            )?,
            _ => stream.write_all(answer.as_bytes())?,
        }
    }
}
