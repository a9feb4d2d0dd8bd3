//! Pools of connections to one endpoint, one pool for each way to speak to it.
//!
//! HTTP/1 connections are a stack of idle ones: the one used last is taken first, so that
//! the rest grow old and close. HTTP/2 connections are shared up to the peer's stream
//! limit. A request for which there is neither room nor the right to connect waits in the
//! pool's queue, which `max_pending_requests` bounds.

mod ahead;
mod lease;

pub(crate) use lease::{ConnectionFacts, Http1Lease, Http2Lease, Lease, TcpLease};

use lease::{Http1, Open, Shared};

use super::breakers::{ConnectionGuard, PendingGuard};
use super::connect::{self, Connected};
use super::proxy_protocol::Ends;
use super::{ClusterStats, Limit, UpstreamError};
use crate::clock;
use crate::http::codec::{Http1Client, Http2Client};
use crate::model::{Cluster, ClusterConfig, Endpoint};
use crate::net::Connector;
use crate::overload::Levels;
use crate::tls::AlpnChoice;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Idle HTTP/1 connections kept for one endpoint by one worker.
const MAX_IDLE: usize = 256;
/// Sweeps are no more frequent than this, whatever the idle timeouts.
const SWEEP_MIN: Duration = Duration::from_millis(100);
/// And no rarer while connections are idle: the peer's close is noticed then.
const SWEEP_MAX: Duration = Duration::from_secs(30);

/// How the request wants to be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub protocol: WantedProtocol,
    pub offer: AlpnChoice,
    /// Server name by request (`auto_sni`).
    pub sni: Option<Box<str>>,
    /// Whom the connection is announced for (PROXY protocol): it serves no other client.
    pub ends: Option<Ends>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WantedProtocol {
    Http1,
    Http2,
    /// HTTP/2 when ALPN says so, else HTTP/1.1.
    Alpn,
}

/// All pools of an endpoint. Few: usually one.
pub(crate) struct EndpointPools {
    pools: RefCell<SmallVec<[Rc<Pool>; 1]>>,
    config: Arc<ClusterConfig>,
    stats: Rc<ClusterStats>,
}

impl EndpointPools {
    pub(super) fn new(config: &Arc<ClusterConfig>) -> Self {
        Self {
            pools: RefCell::default(),
            config: config.clone(),
            stats: ClusterStats::of(config),
        }
    }

    pub fn stats(&self) -> &Rc<ClusterStats> {
        &self.stats
    }

    pub(super) fn pool(&self, wanted: &Wanted) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        if let Some(pool) = pools.iter().find(|pool| pool.wanted == *wanted) {
            return pool.clone();
        }
        if wanted.ends.is_some() {
            // Pools of clients that are gone.
            pools.retain(|pool| pool.open.get() > 0 || Rc::strong_count(pool) > 1);
        }
        let pool = Rc::new(Pool::new(
            wanted.clone(),
            self.config.clone(),
            self.stats.clone(),
        ));
        pools.push(pool.clone());
        pool
    }

    pub(super) fn is_unused(&self) -> bool {
        self.pools.borrow().iter().all(|pool| pool.open.get() == 0)
    }

    /// Idle connections close now, busy ones after their requests. No more are made.
    pub(super) fn close(&self) {
        for pool in self.pools.borrow().iter() {
            pool.closed.set(true);
            pool.retire();
        }
    }

    /// As [`close`](Self::close), but new ones may be made: others may take another way to an
    /// endpoint that fails, as in Envoy.
    pub(super) fn retire(&self) {
        for pool in self.pools.borrow().iter() {
            pool.retire();
        }
    }

    pub(super) fn sweep(&self, now: Instant) -> Option<Duration> {
        self.pools
            .borrow()
            .iter()
            .filter_map(|pool| pool.sweep(now))
            .min()
    }
}

pub(super) struct Pool {
    wanted: Wanted,
    config: Arc<ClusterConfig>,
    stats: Rc<ClusterStats>,
    #[expect(
        clippy::vec_box,
        reason = "leases hold the box: nothing large is moved"
    )]
    idle: RefCell<Vec<Box<Http1>>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    /// Connections of this pool: idle, busy, and being made.
    open: Cell<u32>,
    /// HTTP/2 connections being made.
    connecting: Cell<u32>,
    /// Connections being made before anybody needs them.
    ahead: Cell<u32>,
    /// Learned from ALPN when the protocol was not fixed.
    speaks_http2: Cell<Option<bool>>,
    closed: Cell<bool>,
    waiters: Cell<u32>,
    available: Notify,
    /// Number of failed connection attempts, and the last failure: ends all who wait for
    /// an HTTP/2 connection, as in Envoy.
    failures: Cell<u64>,
    last_failure: RefCell<Option<UpstreamError>>,
}

impl Pool {
    fn new(wanted: Wanted, config: Arc<ClusterConfig>, stats: Rc<ClusterStats>) -> Self {
        let speaks_http2 = match wanted.protocol {
            WantedProtocol::Http1 => Some(false),
            WantedProtocol::Http2 => Some(true),
            WantedProtocol::Alpn => None,
        };
        Self {
            wanted,
            config,
            stats,
            idle: RefCell::default(),
            shared: RefCell::default(),
            open: Cell::new(0),
            connecting: Cell::new(0),
            ahead: Cell::new(0),
            speaks_http2: Cell::new(speaks_http2),
            closed: Cell::new(false),
            waiters: Cell::new(0),
            available: Notify::new(),
            failures: Cell::new(0),
            last_failure: RefCell::default(),
        }
    }

    fn wake_one(&self) {
        if self.waiters.get() > 0 {
            self.available.notify_one();
        }
    }

    /// A connection that can take a request when none was [`ready`](Self::ready): a new one, or
    /// the first that is given back.
    pub(super) async fn acquire(
        self: &Rc<Self>,
        connector: &Connector,
        overload: &Levels,
        cluster: &Cluster,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Lease, UpstreamError> {
        let _pending =
            PendingGuard::new(cluster).inspect_err(|_| self.stats.rq_pending_overflow.inc())?;
        self.stats.rq_pending_total.inc();
        let mut overflown = false;
        loop {
            let alone = self.open.get() == 0;
            let single_flight = self.speaks_http2.get() != Some(false) && self.connecting.get() > 0;
            if !single_flight && overload.refuses_upstream() {
                return Err(UpstreamError::Shed);
            }
            if !single_flight && let Some(guard) = ConnectionGuard::new(cluster, endpoint, alone) {
                return self.open_connection(connector, endpoint, guard).await;
            }
            if !single_flight && !std::mem::replace(&mut overflown, true) {
                self.stats.cx_overflow.inc();
            }
            if self.open.get() == 0 {
                return Err(UpstreamError::Overflow(Limit::Connections));
            }
            self.wait(single_flight).await?;
            if let Some(lease) = self.ready() {
                return Ok(lease);
            }
        }
    }

    async fn wait(&self, for_connection: bool) -> Result<(), UpstreamError> {
        let failures = self.failures.get();
        {
            let _waiting = Waiting::new(&self.waiters);
            self.available.notified().await;
        }
        match &*self.last_failure.borrow() {
            Some(error) if for_connection && self.failures.get() != failures => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// An open connection that can take a request.
    pub(super) fn ready(self: &Rc<Self>) -> Option<Lease> {
        loop {
            let idle = self.idle.borrow_mut().pop();
            let Some(mut connection) = idle else { break };
            if !self.is_old(connection.opened) && connection.client.is_ready() {
                connection.requests += 1;
                let lease = Http1Lease::new(connection, self.clone());
                return Some(Lease::Http1(lease));
            }
        }
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| !connection.is_retired());
        let found = shared.iter().find(|connection| {
            connection.active.get()
                < connection
                    .client
                    .max_streams()
                    .min(self.config.http2.max_concurrent_streams)
        })?;
        let lease = Http2Lease::new(found.clone(), self.clone());
        if self.exhausted(found.requests.get()) || self.is_old(found.opened) {
            found.retired.set(true);
        }
        Some(Lease::Http2(lease))
    }

    fn exhausted(&self, requests: u32) -> bool {
        self.config
            .max_requests_per_connection
            .is_some_and(|limit| limit > 0 && requests >= limit)
    }

    fn is_old(&self, opened: Instant) -> bool {
        self.config
            .max_connection_duration
            .is_some_and(|limit| opened.elapsed() >= limit)
    }

    async fn open_connection(
        self: &Rc<Self>,
        connector: &Connector,
        endpoint: &Arc<Endpoint>,
        guard: ConnectionGuard,
    ) -> Result<Lease, UpstreamError> {
        let open = Open::new(self.clone(), guard);
        let _connecting = Connecting::new(self);
        let connected =
            connect::connect(connector, &self.stats, &self.config, endpoint, self.way()).await;
        let result = connected.map(|connected| self.lease(connected, open));
        if let Err(error) = &result {
            self.failures.set(self.failures.get() + 1);
            *self.last_failure.borrow_mut() = Some(error.clone());
        }
        result
    }

    fn way(&self) -> connect::Way<'_> {
        connect::Way {
            offer: self.wanted.offer,
            sni: self.wanted.sni.as_deref(),
            ends: self.wanted.ends,
        }
    }

    /// The first lease of a new connection.
    fn lease(self: &Rc<Self>, connected: Connected, open: Open) -> Lease {
        match self.begin(connected, open) {
            Begun::Http1(mut connection) => {
                connection.requests = 1;
                Lease::Http1(Http1Lease::new(connection, self.clone()))
            }
            Begun::Http2(shared) => {
                let lease = Http2Lease::new(shared.clone(), self.clone());
                if self.exhausted(shared.requests.get()) {
                    shared.retired.set(true);
                }
                Lease::Http2(lease)
            }
        }
    }

    /// A new connection that nobody uses yet.
    fn keep(&self, connected: Connected, open: Open) {
        match self.begin(connected, open) {
            Begun::Http1(connection) => self.put_back(connection),
            Begun::Http2(_) => self.wake_one(),
        }
    }

    fn begin(&self, connected: Connected, open: Open) -> Begun {
        let Connected { stream, tls } = connected;
        let http2 = self.speaks_http2.get().unwrap_or_else(|| {
            let http2 = matches!(stream.alpn(), Some(b"h2" | b"istio-h2"));
            self.speaks_http2.set(Some(http2));
            http2
        });
        let facts = Rc::new(ConnectionFacts::of(&stream, tls));
        let opened = Instant::now();
        if !http2 {
            self.stats.cx_http1_total.inc();
            return Begun::Http1(Box::new(Http1 {
                client: Http1Client::new(stream, &self.config),
                facts,
                requests: 0,
                opened,
                idle_since: opened,
                open,
            }));
        }
        self.stats.cx_http2_total.inc();
        let shared = Rc::new(Shared {
            client: Http2Client::new(stream, &self.config),
            facts,
            active: Cell::new(0),
            requests: Cell::new(0),
            opened,
            idle_since: Cell::new(opened),
            retired: Cell::new(self.closed.get()),
            open,
        });
        if !self.closed.get() {
            self.shared.borrow_mut().push(shared.clone());
        }
        Begun::Http2(shared)
    }

    /// An HTTP/1 connection whose exchange is over, if it may carry another one.
    fn put_back(&self, mut connection: Box<Http1>) {
        let keep = !self.closed.get()
            && !self.exhausted(connection.requests)
            && self.idle.borrow().len() < MAX_IDLE
            && connection.client.is_idle();
        if keep {
            connection.idle_since = clock::now();
            self.idle.borrow_mut().push(connection);
            self.wake_one();
        }
    }

    fn retire(&self) {
        let idle = self.idle.take();
        drop(idle);
        let shared = self.shared.take();
        for connection in &shared {
            connection.retired.set(true);
        }
    }

    fn sweep(&self, now: Instant) -> Option<Duration> {
        let timeout = self.config.idle_timeout;
        let due = |since: Instant| timeout.is_some_and(|limit| now.duration_since(since) >= limit);
        let mut gone = Vec::new();
        {
            let mut idle = self.idle.borrow_mut();
            let mut index = 0;
            while index < idle.len() {
                let connection = &mut idle[index];
                if due(connection.idle_since)
                    || self.is_old(connection.opened)
                    || !connection.client.is_ready()
                {
                    gone.push(idle.remove(index));
                } else {
                    index += 1;
                }
            }
        }
        drop(gone);
        let mut retired = Vec::new();
        self.shared.borrow_mut().retain(|connection| {
            let unused = connection.active.get() == 0 && due(connection.idle_since.get());
            if unused || connection.is_retired() || self.is_old(connection.opened) {
                connection.retired.set(true);
                retired.push(connection.clone());
                return false;
            }
            true
        });
        drop(retired);
        if self.open.get() == 0 {
            return None;
        }
        let idle = self.idle.borrow();
        let shared = self.shared.borrow();
        let oldest = idle
            .iter()
            .map(|connection| connection.idle_since)
            .chain(
                shared
                    .iter()
                    .filter(|connection| connection.active.get() == 0)
                    .map(|connection| connection.idle_since.get()),
            )
            .min();
        match (oldest, timeout) {
            (Some(oldest), Some(timeout)) => {
                Some(timeout.saturating_sub(now.duration_since(oldest)))
            }
            (_, timeout) => Some(timeout.unwrap_or(SWEEP_MAX).min(SWEEP_MAX)),
        }
    }
}

/// A connection, as pools hold it.
enum Begun {
    Http1(Box<Http1>),
    Http2(Rc<Shared>),
}

struct Waiting<'a>(&'a Cell<u32>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// While it lives, others wait for this connection attempt instead of making their own.
struct Connecting<'a>(&'a Pool);

impl<'a> Connecting<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.connecting.set(pool.connecting.get() + 1);
        Self(pool)
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connecting.set(self.0.connecting.get() - 1);
        self.0.available.notify_waiters();
    }
}

/// Runs only while there are connections to look after.
#[derive(Default)]
pub(super) struct Sweeper {
    running: Cell<bool>,
}

impl Sweeper {
    /// True for the caller that must start the task.
    pub fn start(&self) -> bool {
        !self.running.replace(true)
    }

    /// The pause before the next sweep; `None` ends the task.
    pub fn next(&self, due: Option<Duration>) -> Option<Duration> {
        if due.is_none() {
            self.running.set(false);
        }
        due.map(|due| due.clamp(SWEEP_MIN, SWEEP_MAX))
    }
}
