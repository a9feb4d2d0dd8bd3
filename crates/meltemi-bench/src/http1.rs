//! HTTP/1.1 as the load's side speaks it: one GET at a time, answers with a `content-length`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// An answer that takes longer fails the run.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes, head included.
pub(crate) const LONGEST_ANSWER: usize = 64 << 10;

/// Connects to 127.0.0.1:`port`.
pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    let stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("port {port}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

pub(crate) fn request(port: u16) -> String {
    format!("GET / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n")
}

/// Sends `request`, reads the answer to its end into `buffer` and returns its status.
///
/// # Errors
/// A connection that breaks or times out, an answer without `content-length` or longer than `buffer`.
pub(crate) fn exchange(
    stream: &mut (impl Read + Write),
    request: &str,
    buffer: &mut [u8],
) -> Result<u16> {
    stream.write_all(request.as_bytes()).context("send")?;
    let mut filled = 0;
    loop {
        let n = stream.read(&mut buffer[filled..]).context("receive")?;
        ensure!(
            n > 0,
            "the connection was closed (or the answer is longer than {} bytes)",
            buffer.len()
        );
        filled += n;
        let Some(end) = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end]).context("head")?;
        let status = head
            .get(9..12)
            .and_then(|s| s.parse().ok())
            .context("status line")?;
        let Some(length) = content_length(head) else {
            bail!("an answer without content-length: {head}");
        };
        if filled >= end + 4 + length {
            return Ok(status);
        }
    }
}

fn content_length(head: &str) -> Option<usize> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}
