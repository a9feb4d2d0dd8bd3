//! An endpoint's connections, and the right to send a request on one of them.

use super::{ConnectionGuard, Pool};
use crate::clock;
use crate::http::codec::{Http1Client, Http2Client};
use crate::net::Stream;
use crate::telemetry::TlsInfo;
use bytes::Bytes;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

/// What is known of an upstream connection.
pub(crate) struct ConnectionFacts {
    pub local: Option<SocketAddr>,
    pub remote: Option<SocketAddr>,
    pub tls: Option<TlsInfo>,
}

/// The right to send one request on a connection.
pub(crate) enum Lease {
    Http1(Http1Lease),
    Http2(Http2Lease),
}

impl Lease {
    pub fn facts(&self) -> &ConnectionFacts {
        match self {
            Self::Http1(lease) => &lease.get().facts,
            Self::Http2(lease) => &lease.connection.facts,
        }
    }
}

/// A connection that no longer speaks HTTP still counts.
pub(crate) struct Upgrade(#[expect(dead_code, reason = "held for its drop")] Open);

pub(crate) struct Http1Lease {
    connection: Option<Box<Http1>>,
    pool: Rc<Pool>,
}

impl Http1Lease {
    pub(super) fn new(connection: Box<Http1>, pool: Rc<Pool>) -> Self {
        Self {
            connection: Some(connection),
            pool,
        }
    }

    fn get(&self) -> &Http1 {
        self.connection.as_ref().expect("held until given back")
    }

    pub fn client(&mut self) -> &mut Http1Client {
        &mut self
            .connection
            .as_mut()
            .expect("held until given back")
            .client
    }

    /// After a 101: the stream, what the peer sent already, and the connection's count,
    /// which is to be held while the stream is in use.
    pub fn into_upgraded(mut self) -> Option<(Stream, Bytes, Upgrade)> {
        let connection = self.connection.take()?;
        let (stream, read) = connection.client.into_upgraded()?;
        Some((stream, read, Upgrade(connection.open)))
    }

    /// The exchange is complete: the connection goes back to its pool if it can be used
    /// again. Dropping the lease instead closes the connection.
    pub fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put_back(connection);
        }
    }
}

pub(crate) struct Http2Lease {
    connection: Rc<Shared>,
    pool: Rc<Pool>,
}

impl Http2Lease {
    pub(super) fn new(connection: Rc<Shared>, pool: Rc<Pool>) -> Self {
        connection.active.set(connection.active.get() + 1);
        connection.requests.set(connection.requests.get() + 1);
        Self { connection, pool }
    }

    pub fn client(&self) -> &Http2Client {
        &self.connection.client
    }
}

impl Drop for Http2Lease {
    fn drop(&mut self) {
        let active = self.connection.active.get() - 1;
        self.connection.active.set(active);
        if active == 0 {
            self.connection.idle_since.set(clock::now());
        }
        self.pool.wake_one();
    }
}

/// An open HTTP/1 connection and its accounts.
pub(super) struct Http1 {
    pub client: Http1Client,
    pub facts: Rc<ConnectionFacts>,
    pub requests: u32,
    pub opened: Instant,
    pub idle_since: Instant,
    pub open: Open,
}

/// An HTTP/2 connection that requests share.
pub(super) struct Shared {
    pub client: Http2Client,
    pub facts: Rc<ConnectionFacts>,
    pub active: Cell<u32>,
    pub requests: Cell<u32>,
    pub opened: Instant,
    pub idle_since: Cell<Instant>,
    pub retired: Cell<bool>,
    #[expect(dead_code, reason = "held for its drop")]
    pub open: Open,
}

impl Shared {
    pub fn is_retired(&self) -> bool {
        self.retired.get() || self.client.is_closed()
    }
}

/// Counts a connection in its pool and its cluster.
pub(super) struct Open {
    pool: Rc<Pool>,
    _guard: ConnectionGuard,
}

impl Open {
    pub(super) fn new(pool: Rc<Pool>, guard: ConnectionGuard) -> Self {
        pool.open.set(pool.open.get() + 1);
        Self {
            pool,
            _guard: guard,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pool.open.set(self.pool.open.get() - 1);
        self.pool.wake_one();
    }
}
