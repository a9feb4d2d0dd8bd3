//! After `101 Switching Protocols`: bytes both ways, as they come.
//!
//! Nothing that a client sends behind its request reaches the upstream before the upstream
//! has answered 101 (CVE-2021-32715 and its kin).

use super::downstream::Downstream;
use super::record::Guard;
use super::stats::HttpStats;
use crate::model::HttpManager;
use crate::net::Stream;
use crate::telemetry::Flags;
use crate::upstream::{RequestGuard, Upgrade};
use crate::worker::DrainSignal;
use bytes::Bytes;
use std::cell::Cell;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

/// Bytes of each direction's buffer.
const BUFFER: usize = 16 * 1024;

/// An accepted upgrade, on its way from the exchange to the connection's task.
pub(crate) struct Upgraded {
    pub stream: Stream,
    /// What the upstream sent behind its 101.
    pub read: Bytes,
    pub guard: Guard,
    pub idle: Option<Duration>,
    pub held: (Upgrade, RequestGuard),
}

/// Whether an upgrade to `token` is configured; the route decides before the manager.
pub(crate) fn is_enabled(manager: &HttpManager, route: &[(Box<str>, bool)], token: &[u8]) -> bool {
    match route.iter().find(|(name, _)| name.as_bytes() == token) {
        Some((_, enabled)) => *enabled,
        None => manager.upgrades.iter().any(|name| name.as_bytes() == token),
    }
}

/// Relays until both sides have ended, one fails, nothing moves for too long, or the time
/// to drain is over.
pub(crate) async fn relay(
    client: Stream,
    sent: Bytes,
    upgraded: Upgraded,
    downstream: &Downstream,
    drain: &DrainSignal,
) {
    let Upgraded {
        stream,
        read,
        guard,
        idle,
        held: _held,
    } = upgraded;
    let record = &guard.0;
    let _counted = Tunnel::new(&downstream.stats);
    let service_ended = Cell::new(false);
    let (client_read, client_write) = tokio::io::split(client);
    let (upstream_read, upstream_write) = tokio::io::split(stream);
    let up = async {
        let moved = |length| {
            record.touch();
            record.info.borrow_mut().bytes_received += length;
        };
        pump(client_read, upstream_write, sent, moved).await?;
        if !service_ended.get() {
            let mut info = record.info.borrow_mut();
            info.flags.insert(Flags::DOWNSTREAM_CONNECTION_TERMINATION);
            info.details = "downstream_remote_disconnect".into();
        }
        Ok(())
    };
    let down = async {
        let moved = |length| {
            record.touch();
            record.info.borrow_mut().bytes_sent += length;
        };
        pump(upstream_read, client_write, read, moved).await?;
        service_ended.set(true);
        Ok::<_, std::io::Error>(())
    };
    let silent = async {
        let Some(idle) = idle else {
            return std::future::pending().await;
        };
        loop {
            let due = record.activity.get() + idle;
            if Instant::now() >= due {
                return;
            }
            tokio::time::sleep_until(due.into()).await;
        }
    };
    tokio::select! {
        result = async { tokio::try_join!(up, down) } => {
            if let Err(error) = result {
                tracing::debug!(%error, id = downstream.info.id, "upgraded connection broke");
            }
        }
        () = silent => record.info.borrow_mut().flags.insert(Flags::STREAM_IDLE_TIMEOUT),
        () = drain.expired() => {}
    }
    record.finish();
}

/// Counts an upgraded connection.
struct Tunnel<'a>(&'a HttpStats);

impl<'a> Tunnel<'a> {
    fn new(stats: &'a HttpStats) -> Self {
        stats.cx_upgrades_total.inc();
        stats.cx_upgrades_active.inc();
        Self(stats)
    }
}

impl Drop for Tunnel<'_> {
    fn drop(&mut self) {
        self.0.cx_upgrades_active.dec();
    }
}

async fn pump(
    mut from: ReadHalf<Stream>,
    mut to: WriteHalf<Stream>,
    first: Bytes,
    moved: impl Fn(u64),
) -> std::io::Result<()> {
    if !first.is_empty() {
        moved(first.len() as u64);
        to.write_all(&first).await?;
        to.flush().await?;
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        moved(length as u64);
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
    }
}
