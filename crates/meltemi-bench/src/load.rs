//! Open-loop load: request k is due at k/rate seconds after the start, whether or not the
//! ones before it were answered, and its latency counts from then. A proxy that stalls
//! cannot hide the requests that would have come meanwhile.
//!
//! A thread per connection takes the next due request from a shared counter, sleeps until
//! it is due, sends it and reads the answer. Threads, because the kernel's timers are
//! precise to microseconds where an event loop's tick is a millisecond.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::http1;

/// Bounds of a run, so that a slip of the keyboard cannot flood a machine.
const MAX_RATE: u64 = 100_000;
const MAX_SECONDS: u64 = 60;
const MAX_CONNECTIONS: u64 = 1024;

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
/// A connection that cannot be made, breaks, or brings no answer within `http1::TIMEOUT`.
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
        .map(|_| http1::connect(options.port))
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

fn drive(
    mut stream: TcpStream,
    options: &Options,
    next: &AtomicU64,
    begun: Instant,
) -> Result<Results> {
    // The default slack of 50 us would be part of every latency.
    nix::sys::prctl::set_timerslack(1).context("timer slack")?;
    let request = http1::request(options.port);
    let mut results = Results::default();
    let mut buffer = vec![0; http1::LONGEST_ANSWER];
    loop {
        let k = next.fetch_add(1, Ordering::Relaxed);
        if k >= options.rate * options.seconds {
            return Ok(results);
        }
        let due = begun + Duration::from_nanos(k * 1_000_000_000 / options.rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if http1::exchange(&mut stream, &request, &mut buffer)? != 200 {
            results.not_200 += 1;
        }
        results.latencies_us.push(due.elapsed().as_micros() as u64);
    }
}
