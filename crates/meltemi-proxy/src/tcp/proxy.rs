//! The TCP proxy filter: one task from the downstream connection to the access log.

use super::peer_exchange;
use super::relay::{End, Limits, Relayed, relay};
use super::stats::TcpStats;
use super::tunnel;
use crate::dns::{CacheError, host_key};
use crate::listener::log::Lines;
use crate::model::{
    Cluster, ClusterId, Direction, FilterChain, HashPolicy, Snapshot, StandardMetrics, TcpProxy,
};
use crate::net::Stream;
use crate::telemetry::{self, ConnectionInfo, Flags, StreamInfo};
use crate::upstream::{NamedHost, PickContext, UpstreamError, UpstreamTcp};
use crate::worker::{DrainSignal, Worker};
use std::hash::Hasher;
use std::rc::Rc;
use std::sync::Arc;

/// Serves a connection until both sides are done; then logs it, once.
pub async fn serve(
    downstream: Stream,
    lines: Lines<'_>,
    chain: &FilterChain,
    proxy: &TcpProxy,
    connection: Arc<ConnectionInfo>,
    worker: &Rc<Worker>,
    drain: &DrainSignal,
) {
    let stats = TcpStats::of(&proxy.stat_prefix);
    stats.total.inc();
    let mut ended = Ended {
        info: lines.begin(connection),
        lines,
        proxy,
        metrics: chain.istio_stats.as_deref(),
    };
    let work = run(
        downstream,
        chain,
        proxy,
        &mut ended.info,
        worker,
        drain,
        stats,
    );
    match proxy.max_connection_duration {
        None => work.await,
        Some(limit) => {
            if tokio::time::timeout(limit, work).await.is_err() {
                ended.info.flags.insert(Flags::DURATION_TIMEOUT);
                stats.max_duration.inc();
            }
        }
    }
    stats.received.add(ended.info.bytes_received);
    stats.sent.add(ended.info.bytes_sent);
}

/// Logs the connection when it is dropped: also when its task is cancelled or panics.
struct Ended<'a> {
    info: StreamInfo,
    lines: Lines<'a>,
    proxy: &'a TcpProxy,
    metrics: Option<&'a StandardMetrics>,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.lines.write(&mut self.info);
        telemetry::finish_tcp(&self.info, &self.proxy.access_logs, self.metrics);
    }
}

async fn run(
    mut downstream: Stream,
    chain: &FilterChain,
    proxy: &TcpProxy,
    info: &mut StreamInfo,
    worker: &Rc<Worker>,
    drain: &DrainSignal,
    stats: TcpStats,
) {
    let inbound = info.connection.direction == Direction::Inbound;
    if chain.peer_exchange && downstream.alpn() == Some(peer_exchange::ALPN) {
        match peer_exchange::exchange(&mut downstream).await {
            Ok(peer) if inbound => info.peer = peer,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, peer = %info.connection.facts.source, "metadata exchange failed");
                info.flags.insert(Flags::DOWNSTREAM_PROTOCOL_ERROR);
                return;
            }
        }
    }
    if let Some(tunneling) = &proxy.tunneling {
        return tunnel::serve(downstream, proxy, tunneling, info, worker, drain, stats).await;
    }
    if worker.overload.refuses_tcp() {
        stats.overload_close.inc();
        info.flags.insert(Flags::OVERLOAD_MANAGER);
        return;
    }
    let Some(mut upstream) = connect(proxy, info, worker, stats).await else {
        // Nothing was relayed: an orderly end would look like an empty answer.
        downstream.reset_on_close();
        return;
    };
    let expected = info
        .cluster
        .as_ref()
        .is_some_and(|cluster| cluster.peer_exchange);
    if expected && upstream.stream.alpn() == Some(peer_exchange::ALPN) {
        match peer_exchange::exchange(&mut upstream.stream).await {
            Ok(peer) if !inbound => info.peer = peer,
            Ok(_) => {}
            Err(error) => {
                info.upstream_failure = Some(format!("metadata exchange: {error}").into());
                info.flags.insert(Flags::UPSTREAM_CONNECTION_FAILURE);
                return;
            }
        }
    }
    telemetry::open_tcp(info, chain.istio_stats.as_deref());
    let failure = upstream.failure.take();
    let over = async {
        match failure {
            None => drain.expired().await,
            Some(failure) => tokio::select! {
                () = drain.expired() => {}
                () = failure.happened() => {}
            },
        }
    };
    let mut moved = Relayed::default();
    let limits = Limits {
        received: chain.buffer_limit,
        sent: info
            .cluster
            .as_ref()
            .map_or(0, |cluster| cluster.buffer_limit),
    };
    let end = {
        let relaying = relay(
            &mut downstream,
            &mut upstream.stream,
            limits,
            proxy.idle_timeout,
            &mut moved,
        );
        tokio::select! {
            biased;
            end = relaying => Some(end),
            () = over => None,
        }
    };
    info.bytes_received = moved.received;
    info.bytes_sent = moved.sent;
    match end {
        Some(End::Closed) | None => {}
        Some(End::Idle) => stats.idle.inc(),
        // A reset is passed on: what arrived may be incomplete.
        Some(End::Downstream(error)) => {
            upstream.stream.reset_on_close();
            tracing::trace!(%error, "downstream connection broke");
        }
        Some(End::Upstream(error)) => {
            downstream.reset_on_close();
            info.flags.insert(Flags::UPSTREAM_CONNECTION_TERMINATION);
            info.upstream_failure = Some(error.to_string().into());
        }
    }
}

/// Connects to a chosen cluster, with as many attempts as configured.
async fn connect(
    proxy: &TcpProxy,
    info: &mut StreamInfo,
    worker: &Rc<Worker>,
    stats: TcpStats,
) -> Option<UpstreamTcp> {
    let snapshot = worker.snapshot();
    let cluster = target(proxy, &snapshot, info, stats)?;
    let server_name = info.connection.facts.server_name.clone();
    if let (Some(forward), Some(name)) = (&proxy.sni_forward, &server_name) {
        let resolved = forward.cache.resolve(&host_key(name, forward.port)).await;
        if let Err(error) = resolved {
            // Without an address the connection finds no endpoint below, as in Envoy.
            tracing::debug!(%error, name = &**name, "server name not resolved");
            if !matches!(error, CacheError::Failed(_)) {
                return None;
            }
        }
    }
    for attempt in 1..=proxy.max_connect_attempts.max(1) {
        info.attempts = attempt;
        let context = context(proxy, info, server_name.as_deref());
        match worker.upstreams.connect_tcp(cluster, context).await {
            Ok(upstream) => {
                info.flags = Flags::default();
                info.upstream_failure = None;
                info.upstream_local = upstream.stream.local_addr();
                info.upstream_remote = upstream.stream.peer_addr();
                info.upstream_tls = upstream.tls.clone();
                info.endpoint = Some(upstream.endpoint.clone());
                return Some(upstream);
            }
            Err(error) => {
                if matches!(error, UpstreamError::Pick(_)) {
                    // Nowhere to attempt it.
                    info.attempts -= 1;
                }
                info.flags.insert(error.flags());
                info.upstream_failure = error.transport_failure();
                if !error.may_pass() {
                    return None;
                }
            }
        }
    }
    info.flags.insert(Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
    None
}

/// The cluster of a connection.
pub(super) fn target<'a>(
    proxy: &TcpProxy,
    snapshot: &'a Snapshot,
    info: &mut StreamInfo,
    stats: TcpStats,
) -> Option<&'a Arc<Cluster>> {
    let Some(cluster) = snapshot.cluster(choose(proxy)) else {
        info.flags.insert(Flags::NO_CLUSTER_FOUND);
        stats.no_route.inc();
        return None;
    };
    info.cluster = Some(cluster.config.clone());
    Some(cluster)
}

/// What an endpoint is chosen by.
pub(super) fn context<'a>(
    proxy: &TcpProxy,
    info: &StreamInfo,
    server_name: Option<&'a str>,
) -> PickContext<'a> {
    let facts = &info.connection.facts;
    PickContext {
        hash: hash(&proxy.hash_policy, info),
        original_destination: Some(facts.destination),
        host: server_name.map(|name| NamedHost {
            name,
            port: proxy.sni_forward.as_ref().map(|forward| forward.port),
        }),
        ends: Some((facts.source, facts.destination)),
        ..PickContext::default()
    }
}

fn choose(proxy: &TcpProxy) -> ClusterId {
    if let [(only, _)] = &*proxy.clusters {
        return *only;
    }
    let mut point = fastrand::u32(0..proxy.total_weight.max(1));
    for (cluster, weight) in &proxy.clusters {
        if point < *weight {
            return *cluster;
        }
        point -= weight;
    }
    proxy.clusters[proxy.clusters.len() - 1].0
}

/// TCP knows the source address only; other policies have nothing to work on.
fn hash(policies: &[HashPolicy], info: &StreamInfo) -> Option<u64> {
    policies.iter().find_map(|policy| match policy {
        HashPolicy::SourceIp { .. } => {
            let mut hasher = xxhash_rust::xxh64::Xxh64::new(0);
            hasher.write(info.connection.facts.source.ip().to_string().as_bytes());
            Some(hasher.finish())
        }
        _ => None,
    })
}
