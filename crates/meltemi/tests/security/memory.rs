//! What peers that stall cost our proxy.

use super::frames::*;
use super::proxies::Proxy;
use crate::common::runner::Report;
use crate::common::wait::attempt;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub const NAME: &str = "stalled peers";
/// Connections a kind of stalling.
const PEERS: usize = 200;
/// Anonymous memory that one of them may cost, in bytes: more than a read buffer, less than
/// what it would cost to keep all that it sent.
const EACH: u64 = 96 << 10;
/// What each sends before it stalls.
const SENT: usize = 256 << 10;
const CLOSED: Duration = Duration::from_secs(10);

/// Opens connections that send a lot and then nothing more, in every phase, and holds the proxy's
/// memory and its timeouts to their bounds.
pub fn stalled_peers(proxy: &Proxy, report: &mut Report) {
    let begun = Instant::now();
    let pid = proxy.pid;
    let fields: Vec<u8> = (0..SENT / 1100)
        .flat_map(|_| field(b"x-a", &[b'b'; 1000]))
        .collect();
    let kinds: [(&str, Vec<u8>); 4] = [
        (
            "head",
            [b"GET / HTTP/1.1\r\nx-a: ", &vec![b'b'; SENT][..]].concat(),
        ),
        (
            "chunk",
            [
                b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n80000\r\n",
                &vec![b'b'; SENT][..],
            ]
            .concat(),
        ),
        (
            "trailer",
            [
                b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx-a: ",
                &vec![b'b'; SENT][..],
            ]
            .concat(),
        ),
        (
            "HTTP/2 head",
            [
                PREFACE,
                &settings(&[]),
                &frame(HEADERS, END_STREAM, 1, &block(GET)),
                &fields
                    .chunks(16_000)
                    .flat_map(|piece| frame(CONTINUATION, 0, 1, piece))
                    .collect::<Vec<_>>(),
            ]
            .concat(),
        ),
    ];
    for (kind, bytes) in kinds {
        let name = format!("memory::{NAME}: {kind}");
        let (before, files) = (anonymous(pid), descriptors(pid));
        let peers: Vec<TcpStream> = (0..PEERS)
            .filter_map(|_| {
                let mut stream = TcpStream::connect(("127.0.0.1", proxy.plain)).ok()?;
                stream
                    .set_write_timeout(Some(Duration::from_millis(50)))
                    .ok()?;
                // The proxy may read no more, or have closed.
                let _ = stream.write_all(&bytes);
                Some(stream)
            })
            .collect();
        let grown = anonymous(pid).saturating_sub(before);
        let closed = attempt(CLOSED, || match descriptors(pid) {
            now if now <= files + SPARE => Ok(()),
            now => Err(format!("{now} descriptors, {files} before")),
        });
        drop(peers);
        let bounded = grown <= EACH * PEERS as u64;
        match (bounded, closed) {
            (true, Ok(())) => report.pass(
                &format!("{name} ({} KiB each)", grown / 1024 / PEERS as u64),
                begun,
            ),
            (bounded, closed) => {
                println!("{name}: {grown} bytes for {PEERS}, bounded {bounded}; {closed:?}");
                report.fail(&name);
            }
        }
    }
}

/// Connections to the service that stay in the pool.
const SPARE: usize = 10;

/// Anonymous memory in bytes.
fn anonymous(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}
