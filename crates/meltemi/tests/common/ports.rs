//! Ports for what the suites start.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel gives to connections (32768 and up): none of these can take
/// a port between its choice and its use.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port that nobody uses, and that this process has not handed out before.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes at the same time begin elsewhere.
    let start = std::process::id().wrapping_mul(211) % u32::from(COUNT);
    (0..COUNT)
        .map(|_| {
            let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            FIRST + ((start + step) % u32::from(COUNT)) as u16
        })
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
