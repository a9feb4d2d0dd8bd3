//! Open-loop load: request k is due at k/rate seconds after the start, whether or not the
//! ones before it were answered, and its latency counts from then. A proxy that stalls
//! cannot hide the requests that would have come meanwhile.
//!
//! A thread per connection takes the next due request from a shared counter, sleeps until
//! it is due, sends it and reads the answer. Threads, because the kernel's timers are
//! precise to microseconds where an event loop's tick is a millisecond.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Bounds of a run, so that a slip of the keyboard cannot flood a machine.
const MAX_RATE: u64 = 100_000;
const MAX_SECONDS: u64 = 60;
const MAX_CONNECTIONS: u64 = 1024;
/// An answer that takes longer fails the run.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
    /// Requests a second.
    #[arg(long)]
    rate: u64,
    #[arg(long, default_value_t = 64)]
    connections: u64,
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

/// # Errors
/// A connection that cannot be made, breaks, or brings no answer within 10 seconds.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        (1..=MAX_RATE).contains(&options.rate),
        "rate: 1 to {MAX_RATE}"
    );
    ensure!(
        (1..=MAX_SECONDS).contains(&options.seconds),
        "seconds: 1 to {MAX_SECONDS}"
    );
    ensure!(
        (1..=MAX_CONNECTIONS).contains(&options.connections),
        "connections: 1 to {MAX_CONNECTIONS}"
    );
    let streams = (0..options.connections)
        .map(|_| connect(options.port))
        .collect::<Result<Vec<_>>>()?;
    let next = AtomicU64::new(0);
    let begun = Instant::now() + Duration::from_millis(10);
    let results = std::thread::scope(|scope| {
        let spawn = |stream| scope.spawn(|| drive(stream, options, &next, begun));
        let threads: Vec<_> = streams.into_iter().map(spawn).collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("drive does not panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    let mut latencies: Vec<u64> = results
        .iter()
        .flat_map(|r| r.latencies_us.iter().copied())
        .collect();
    latencies.sort_unstable();
    let failed: u64 = results.iter().map(|r| r.not_200).sum();
    let quantile = |q: f64| {
        latencies
            .get((latencies.len() as f64 * q) as usize)
            .or(latencies.last())
    };
    println!(
        "{}",
        serde_json::json!({
            "requests": latencies.len(), "failed": failed,
            "p50_us": quantile(0.5), "p99_us": quantile(0.99), "p999_us": quantile(0.999),
        })
    );
    Ok(())
}

#[derive(Default)]
struct Results {
    latencies_us: Vec<u64>,
    not_200: u64,
}

fn connect(port: u16) -> Result<TcpStream> {
    let stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("port {port}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn drive(
    mut stream: TcpStream,
    options: &Options,
    next: &AtomicU64,
    begun: Instant,
) -> Result<Results> {
    // The default slack of 50 us would be part of every latency.
    nix::sys::prctl::set_timerslack(1).context("timer slack")?;
    let request = format!("GET / HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n", options.port);
    let mut results = Results::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let k = next.fetch_add(1, Ordering::Relaxed);
        if k >= options.rate * options.seconds {
            return Ok(results);
        }
        let due = begun + Duration::from_nanos(k * 1_000_000_000 / options.rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(request.as_bytes()).context("send")?;
        if read_answer(&mut stream, &mut buffer)? != 200 {
            results.not_200 += 1;
        }
        results.latencies_us.push(due.elapsed().as_micros() as u64);
    }
}

/// Reads one answer to its end and returns its status.
fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<u16> {
    let mut filled = 0;
    loop {
        let n = stream.read(&mut buffer[filled..]).context("receive")?;
        ensure!(
            n > 0,
            "the connection was closed (or the answer is longer than 64 KiB)"
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
