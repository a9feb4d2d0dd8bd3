//! A downstream connection from accept to the end: destination, hand-off, inspection,
//! filter chain, TLS, and then HTTP or the TCP relay.

mod chain;
mod filters;
pub mod inspect;
pub mod log;
mod stats;

pub use chain::select;
pub use filters::NetworkFilter;
use filters::{Admitted, Closed};
use log::{Lines, Logged};
pub use stats::ListenerStats;

use crate::model::{ConnectionFacts, FilterChain, Listener, ListenerTable, Terminal, Transport};
use crate::net::original_dst::{canonical, original_destination};
use crate::net::{Socket, Stream};
use crate::overload::Timer;
use crate::telemetry::{self, ConnectionInfo, Flags, TlsInfo};
use crate::tls::TlsError;
use crate::worker::{DrainSignal, ListenerStates, Worker};
use crate::{http, tcp, tls};
use inspect::proxy_protocol::Ends;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;

/// What the accepting socket knows of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    pub peer: SocketAddr,
    /// The listener's own address, when the connection came in through a published socket
    /// of the host's namespace: its port stands for the local one.
    pub published_for: Option<SocketAddr>,
}

/// Serves a connection until it ends.
pub async fn serve(
    stream: TcpStream,
    accepted: Accepted,
    listener: Arc<Listener>,
    worker: Rc<Worker>,
    states: Rc<ListenerStates>,
) {
    // Accepted sockets inherit TCP_NODELAY from the listening one.
    let Ok(local) = stream.local_addr().map(canonical) else {
        return; // the peer is gone already
    };
    let peer = canonical(accepted.peer);
    let destination = destination(&stream, local, accepted, &listener);
    let listener = if listener.hand_off {
        let snapshot = worker.snapshot();
        hand_off(&listener, destination, &snapshot.listeners).clone()
    } else {
        listener
    };
    let state = states.of(&listener);
    let lines = Lines::new(&listener);
    let stats = state.stats;
    stats.total.inc();
    stats.active.inc();
    let _active = stats::Active(stats);

    let mut facts = ConnectionFacts {
        destination,
        source: peer,
        peer,
        server_name: None,
        transport: Transport::RawBuffer,
        application_protocols: Vec::new(),
    };
    let ends = (peer, destination);
    let announced = announced(stream, ends, &listener, stats, &state.drain()).await;
    let Some((stream, source, destination)) = announced else {
        let info = ConnectionInfo::new(facts, local, listener.direction, "");
        drop(Logged::new(lines, info.into()));
        return;
    };
    (facts.source, facts.destination) = (source, destination);
    let wanted = inspect::Wanted {
        tls: enabled(listener.tls_inspector.as_ref(), destination),
        http: enabled(listener.http_inspector.as_ref(), destination),
    };
    let inspected = inspected(stream, wanted, &listener, stats, &state.drain()).await;
    let Some((stream, seen)) = inspected else {
        let info = ConnectionInfo::new(facts, local, listener.direction, "");
        drop(Logged::new(lines, info.into()));
        return;
    };
    facts.server_name = seen.server_name;
    facts.transport = seen.transport;
    facts.application_protocols = seen.protocols;
    let Some(chain) = select(&listener.chains, &facts).cloned() else {
        stats.no_chain.inc();
        let info = ConnectionInfo::new(facts, local, listener.direction, "");
        info.ends_for(Flags::NO_ROUTE_FOUND);
        let mut logged = Logged::new(lines, info.into());
        logged.details = "filter_chain_not_found".into();
        return;
    };
    let drain = state.drain_of_chain(chain.hash);
    let mut info = ConnectionInfo::new(facts, local, listener.direction, &chain.name);
    let secured = secured(stream, &chain, &listener, &info, stats, &worker).await;
    let stream = match secured {
        Ok((stream, peer)) => {
            info.tls = peer;
            stream
        }
        Err(error) => {
            info.transport_failure = Some(error.to_string().into());
            drop(Logged::new(lines, info.into()));
            return;
        }
    };
    let info = Arc::new(info);
    let _admitted = match admit(&chain, &info) {
        Ok(admitted) => admitted,
        Err(closed) => {
            return close(stream, closed, lines, &chain, info, &drain).await;
        }
    };
    let is_http = matches!(chain.terminal, Terminal::Http(_));
    let has_logs = !listener.access_logs.is_empty();
    let _logged = (is_http && has_logs).then(|| Box::new(Logged::new(lines, info.clone())));
    let work = terminal(stream, lines, &chain, info, &worker, &drain);
    tokio::select! {
        biased;
        () = work => {}
        // Whatever it still does: its time is over, dropping it closes both sides.
        () = drain.expired(), if !matches!(chain.terminal, Terminal::Tcp(_)) => {}
    }
}

/// Where the client meant to go.
fn destination(
    stream: &TcpStream,
    local: SocketAddr,
    accepted: Accepted,
    listener: &Listener,
) -> SocketAddr {
    if let Some(own) = accepted.published_for {
        return SocketAddr::new(local.ip(), own.port());
    }
    if listener.original_dst || listener.hand_off {
        // With TPROXY nothing was rewritten: the local address is it.
        return original_destination(stream, local).unwrap_or(local);
    }
    local
}

/// The listener of the original destination, once: one that itself hands off or owns a
/// socket is no target. A connection to the redirecting port itself therefore stays, and
/// meets the black-hole chain that Istio puts there.
pub(crate) fn hand_off<'a>(
    listener: &'a Arc<Listener>,
    destination: SocketAddr,
    listeners: &'a ListenerTable,
) -> &'a Arc<Listener> {
    if !listener.hand_off {
        return listener;
    }
    match listeners.for_destination(destination) {
        Some(target) if !target.bind => target,
        _ => listener,
    }
}

fn enabled(inspector: Option<&crate::model::InspectorPorts>, destination: SocketAddr) -> bool {
    inspector.is_some_and(|ports| ports.enabled(destination.port()))
}

/// Whom a load balancer in front says the connection is from, and where it went. `None` when
/// the connection is to be closed.
async fn announced(
    mut stream: TcpStream,
    ends: Ends,
    listener: &Listener,
    stats: ListenerStats,
    drain: &DrainSignal,
) -> Option<(TcpStream, SocketAddr, SocketAddr)> {
    let Some(filter) = listener.proxy_protocol else {
        return Some((stream, ends.0, ends.1));
    };
    let header = inspect::take_proxy_header(&mut stream, filter);
    let told = tokio::select! {
        result = header => match result {
            Ok(told) => told,
            Err(error) => {
                tracing::debug!(listener = %listener.name, peer = %ends.0, %error, "no connection without the PROXY protocol");
                stats.proxy_header_errors.inc();
                return None;
            }
        },
        () = limit(listener) => {
            stats.inspection_timeouts.inc();
            if !listener.continue_on_inspect_timeout {
                return None;
            }
            stream = inspect::give_up(stream).ok()?;
            None
        }
        () = drain.expired() => return None,
    };
    let (source, destination) = told.unwrap_or(ends);
    Some((stream, source, destination))
}

/// The end of the time that listener filters have.
async fn limit(listener: &Listener) {
    match listener.inspect_timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

/// `None` when the connection is to be closed.
async fn inspected(
    stream: TcpStream,
    wanted: inspect::Wanted,
    listener: &Listener,
    stats: ListenerStats,
    drain: &DrainSignal,
) -> Option<(TcpStream, inspect::Outcome)> {
    if !wanted.tls && !wanted.http {
        return Some((stream, inspect::Outcome::default()));
    }
    let inspection = inspect::inspect(&stream, wanted);
    tokio::select! {
        result = inspection => match result {
            Ok(outcome) => Some((stream, outcome)),
            Err(error) => {
                tracing::debug!(listener = %listener.name, %error, "a connection ended during inspection");
                stats.inspection_errors.inc();
                None
            }
        },
        // A server that speaks first gets its silent client.
        () = limit(listener) => {
            stats.inspection_timeouts.inc();
            if !listener.continue_on_inspect_timeout {
                return None;
            }
            Some((inspect::give_up(stream).ok()?, inspect::Outcome::default()))
        }
        () = drain.expired() => None,
    }
}

/// The decrypted stream and what TLS showed of the peer, where the chain ends TLS.
async fn secured(
    stream: TcpStream,
    chain: &FilterChain,
    listener: &Listener,
    info: &ConnectionInfo,
    stats: ListenerStats,
    worker: &Worker,
) -> Result<(Stream, Option<TlsInfo>), TlsError> {
    let Some(context) = &chain.tls else {
        return Ok((stream.into(), None));
    };
    let facts = &info.facts;
    let plaintext = facts.transport == Transport::RawBuffer && listener.tls_inspector.is_some();
    let limit = chain.handshake_timeout.unwrap_or(tls::HANDSHAKE);
    let limit = worker.overload.reduced(Timer::Handshake, limit);
    let mut staple = None;
    let accepted = tls::accept(Socket::Tcp(stream), context, limit, &mut staple).await;
    stats.staple(staple);
    match accepted {
        Ok((stream, peer)) => {
            stats.tls_ok(&peer);
            Ok((stream, Some(peer)))
        }
        Err(error) => {
            stats.tls_failed(&error);
            tracing::debug!(
                listener = %listener.name, chain = %chain.name, peer = %facts.source, plaintext, %error,
                "TLS handshake failed"
            );
            Err(error)
        }
    }
}

/// What the filters before the terminal one say, and hold until the connection has ended.
fn admit(chain: &FilterChain, info: &ConnectionInfo) -> Result<Vec<Admitted>, Closed> {
    let verdicts = chain.filters.iter().map(|filter| filter.admit(info));
    verdicts
        .filter(|verdict| !matches!(verdict, Ok(None)))
        .collect()
}

/// Ends a connection that a filter does not admit.
async fn close(
    stream: Stream,
    closed: Closed,
    lines: Lines<'_>,
    chain: &FilterChain,
    info: Arc<ConnectionInfo>,
    drain: &DrainSignal,
) {
    let mut logged = Logged::new(lines, info.clone());
    logged.termination = closed.details.clone();
    let mut ended = lines.begin(info);
    ended.termination = closed.details;
    if !closed.delay.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(closed.delay) => {}
            () = drain.expired() => {}
        }
    }
    drop(stream);
    drop(logged);
    // A connection manager logs requests, and there was none.
    if let Terminal::Tcp(proxy) = &chain.terminal {
        telemetry::finish_tcp(&ended, &proxy.access_logs, chain.istio_stats.as_deref());
    }
}

async fn terminal(
    stream: Stream,
    lines: Lines<'_>,
    chain: &Arc<FilterChain>,
    info: Arc<ConnectionInfo>,
    worker: &Rc<Worker>,
    drain: &DrainSignal,
) {
    match &chain.terminal {
        Terminal::Http(manager) => {
            http::serve(stream, manager.clone(), info, worker.clone(), drain.clone()).await
        }
        Terminal::Tcp(proxy) => tcp::serve(stream, lines, chain, proxy, info, worker, drain).await,
    }
}
