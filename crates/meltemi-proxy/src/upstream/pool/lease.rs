//! An endpoint's connections, and the right to send a request on one of them.

use super::{Connected, ConnectionGuard, Pool};
use crate::clock;
use crate::http::body::RequestBody;
use crate::http::codec::client::SendError;
use crate::http::codec::{Http1Client, Http2Client, Incoming};
use crate::model::ClusterConfig;
use crate::net::Stream;
use crate::telemetry::TlsInfo;
use crate::upstream::EndpointFailure;
use http::{Request, Response};
use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// What is known of an upstream connection.
pub(crate) struct ConnectionFacts {
    pub local: Option<SocketAddr>,
    pub remote: Option<SocketAddr>,
    pub tls: Option<Arc<TlsInfo>>,
}

impl ConnectionFacts {
    pub fn of(stream: &Stream, tls: Option<Arc<TlsInfo>>) -> Self {
        Self {
            local: stream.local_addr(),
            remote: stream.peer_addr(),
            tls,
        }
    }
}

/// The right to send one request on a connection.
pub(crate) enum Lease {
    Http1(Http1Lease),
    Http2(Http2Lease),
    Tcp(Box<TcpLease>),
}

impl Lease {
    pub fn facts(&self) -> &ConnectionFacts {
        match self {
            Self::Http1(lease) => &lease.get().facts,
            Self::Http2(lease) => &lease.connection.facts,
            Self::Tcp(lease) => &lease.facts,
        }
    }

    /// Sends a request; the answer's head. For whom the size of futures does not matter.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendError> {
        match self {
            Self::Http1(lease) => lease.client().send(request).await,
            Self::Http2(lease) => lease.client().send(request).await,
            Self::Tcp(lease) => lease.send(request),
        }
    }

    /// What moves only when the exchange does: a connection of HTTP/2 has a task of its own.
    pub fn driven(&mut self) -> Option<&mut Http1Client> {
        match self {
            Self::Http1(lease) => Some(lease.client()),
            Self::Http2(_) => None,
            Self::Tcp(lease) => Some(&mut lease.client),
        }
    }
}

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

    /// The exchange is complete: the connection goes back to its pool if it can be used
    /// again. Dropping the lease instead closes the connection.
    pub fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put_back(connection);
        }
    }
}

/// A connection of its own, for what is no HTTP: a CONNECT that ends here.
pub(crate) struct TcpLease {
    client: Http1Client,
    facts: ConnectionFacts,
    /// Resolves when the endpoint has failed, where that ends the connection.
    failure: Option<Pin<Box<dyn Future<Output = ()>>>>,
    _guard: ConnectionGuard,
}

impl TcpLease {
    pub(in crate::upstream) fn new(
        connected: Connected,
        config: &ClusterConfig,
        failure: Option<EndpointFailure>,
        guard: ConnectionGuard,
    ) -> Self {
        Self {
            facts: ConnectionFacts::of(&connected.stream, connected.tls),
            client: Http1Client::new(connected.stream, config),
            failure: failure.map(|failure| {
                let happened: Pin<Box<dyn Future<Output = ()>>> =
                    Box::pin(async move { failure.happened().await });
                happened
            }),
            _guard: guard,
        }
    }

    /// Whether the connection ends because its endpoint has failed.
    pub fn poll_failure(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.failure {
            None => Poll::Pending,
            Some(failure) => failure.as_mut().poll(cx),
        }
    }

    /// Being connected is all that a CONNECT asks for.
    pub fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, SendError> {
        let body = self.client.begin_tunnel(request.into_body());
        Ok(Response::new(body))
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
    #[expect(dead_code, reason = "held for its drop")]
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
