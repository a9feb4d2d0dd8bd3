//! The upstream: one thread, one fixed answer to every request head. It does as little as
//! possible, since it shares a core with the load and must not be what limits a run.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const END_OF_HEAD: &[u8; 4] = b"\r\n\r\n";

/// Serves on 127.0.0.1:`port` until the process is ended.
pub(crate) fn run(port: u16, body: usize) -> Result<()> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {body}\r\n\r\n")
            .into_bytes();
    answer.resize(answer.len() + body, b'x');
    // One copy for all connections, which live as long as the process.
    let answer: &'static [u8] = answer.leak();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("port {port}"))?;
        loop {
            let (stream, _) = listener.accept().await.context("accept")?;
            tokio::spawn(async move {
                // A client that goes away mid-request is part of every run's end.
                let _ = serve(stream, answer).await;
            });
        }
    })
}

async fn serve(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 16 << 10];
    let mut matched = 0;
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        for _ in 0..heads_ended(&buffer[..n], &mut matched) {
            stream.write_all(answer).await?;
        }
    }
}

/// How many request heads end in `bytes`; `matched` carries a partial end over to the next
/// call. Requests have no bodies here.
fn heads_ended(bytes: &[u8], matched: &mut usize) -> usize {
    let mut ended = 0;
    for &byte in bytes {
        *matched = match byte {
            byte if byte == END_OF_HEAD[*matched] => *matched + 1,
            b'\r' => 1,
            _ => 0,
        };
        if *matched == END_OF_HEAD.len() {
            ended += 1;
            *matched = 0;
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::heads_ended;

    #[test]
    fn heads_are_counted_however_they_are_cut() {
        let text = b"GET / HTTP/1.1\r\na: b\r\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        for cut in 0..text.len() {
            let mut matched = 0;
            let first = heads_ended(&text[..cut], &mut matched);
            assert_eq!(
                first + heads_ended(&text[cut..], &mut matched),
                2,
                "cut at {cut}"
            );
        }
    }
}
