//! Telemetry on its way to collectors. Each worker sends what it made, by its own
//! connections: collectors are reached as any cluster is, from the workload's network and
//! with its identity.

mod stream;

use crate::http::call::{self, CallError};
use crate::model::{Cluster, Content, Feed};
use crate::telemetry::otlp;
use crate::telemetry::outbox::{Batch, Outbox};
use crate::telemetry::stats::Counter;
use crate::worker::Worker;
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderValue, StatusCode};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Who exports OTLP, in the words that its specification wants.
static EXPORTER: HeaderValue = HeaderValue::from_static(concat!(
    "OTel-OTLP-Exporter-Meltemi/",
    env!("CARGO_PKG_VERSION")
));
/// For collectors whose configuration has no bound.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What nothing was made for so long is forgotten.
const IDLE: Duration = Duration::from_secs(60);

/// Why a batch was lost.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the cluster is not known")]
    NoCluster,
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the stream has ended")]
    Ended,
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Empties the outboxes of this worker's thread.
pub(crate) async fn run(worker: Rc<Worker>) {
    loop {
        let outbox = Outbox::opened().await;
        worker.spawn(serve(worker.clone(), outbox));
    }
}

async fn serve(worker: Rc<Worker>, outbox: Rc<Outbox>) {
    let mut delivers = true;
    let mut open = None;
    while let Some(batch) = outbox.batch(IDLE).await {
        let entries = batch.entries;
        if let Some(sent) = outbox.stats.sent {
            sent.add(entries.into());
        }
        let result = deliver(&worker, &outbox.feed, &mut open, batch).await;
        let stats = &outbox.stats;
        if result.is_err() {
            stats.dropped.add(entries.into());
        }
        let flushed = match result {
            Ok(()) => stats.flushed,
            Err(_) => stats.flush_failed,
        };
        if let Some(counter) = flushed {
            counter.add(entries.into());
        }
        tell(&outbox.feed, &result, &mut delivers);
    }
}

/// Says once that a collector does not take telemetry, and once that it does again.
fn tell(feed: &Feed, result: &Result<(), Lost>, delivers: &mut bool) {
    let cluster = &*feed.collector.cluster_name;
    match result {
        Err(error) if *delivers => {
            tracing::warn!(cluster, %error, "telemetry does not reach its collector");
        }
        Ok(()) if !*delivers => tracing::info!(cluster, "telemetry reaches its collector again"),
        _ => {}
    }
    *delivers = result.is_ok();
}

/// `open`: the stream of what is sent by one.
async fn deliver(
    worker: &Rc<Worker>,
    feed: &Arc<Feed>,
    open: &mut Option<stream::Stream>,
    batch: Batch,
) -> Result<(), Lost> {
    let snapshot = worker.snapshot();
    let cluster = snapshot.cluster(feed.collector.cluster);
    match &feed.content {
        Content::Otlp {
            resource, scope, ..
        } => {
            let body = otlp::export(resource, scope, &batch.bytes);
            let cluster = cluster.ok_or(Lost::NoCluster)?;
            let status = request(worker, feed, cluster, body, "application/x-protobuf").await?;
            match status.is_success() {
                true => Ok(()),
                false => Err(CallError::Status(status).into()),
            }
        }
        Content::AccessLog { name, tcp } => {
            let cluster = cluster.ok_or(Lost::NoCluster)?;
            stream::send(worker, feed, cluster, open, (name, *tcp), &batch.bytes).await
        }
        Content::Zipkin => {
            let count = |name: &str| Counter::new(&format!("tracing.zipkin.reports_{name}")).inc();
            let mut body = batch.bytes;
            body.insert(0, b'[');
            body.push(b']');
            let Some(cluster) = cluster else {
                count("skipped_no_cluster");
                return Err(Lost::NoCluster);
            };
            match request(worker, feed, cluster, body, "application/json").await {
                Ok(StatusCode::ACCEPTED) => {
                    count("sent");
                    Ok(())
                }
                Ok(status) => {
                    count("dropped");
                    Err(CallError::Status(status).into())
                }
                Err(lost) => {
                    count("failed");
                    Err(lost)
                }
            }
        }
    }
}

/// Sends a body, framed where the collector speaks gRPC; the status, which is 200 for a gRPC
/// call that succeeded.
async fn request(
    worker: &Worker,
    feed: &Feed,
    cluster: &Arc<Cluster>,
    body: Vec<u8>,
    content_type: &'static str,
) -> Result<StatusCode, Lost> {
    let to = &feed.collector;
    let length = (!to.grpc).then_some(body.len());
    let content_type = if to.grpc {
        "application/grpc"
    } else {
        content_type
    };
    let mut head = call::post(to, content_type, length);
    if matches!(feed.content, Content::Otlp { .. }) {
        head.headers.insert(USER_AGENT, EXPORTER.clone());
    }
    let exchange = async {
        if to.grpc {
            let body = call::whole(call::grpc_frame(&body));
            let answer = call::send(&worker.upstreams, cluster, head, false, body).await?;
            answer.end_grpc().await?;
            return Ok(StatusCode::OK);
        }
        let body = call::whole(Bytes::from(body));
        let answer = call::send(&worker.upstreams, cluster, head, false, body).await?;
        let status = answer.status();
        answer.end().await?;
        Ok(status)
    };
    let limit = to.timeout.unwrap_or(TIMEOUT);
    match tokio::time::timeout(limit, exchange).await {
        Ok(result) => result.map_err(Lost::Call),
        Err(_) => Err(Lost::Timeout(limit)),
    }
}
