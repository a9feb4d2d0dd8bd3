//! The stream of Envoy's access log service: opened by the first entries, kept for those that
//! follow, and opened again when the service has ended it.

use super::{Lost, TIMEOUT};
use crate::http::body::RequestBody;
use crate::http::call;
use crate::model::{Cluster, Feed};
use crate::telemetry::{node, otlp};
use crate::worker::Worker;
use bytes::Bytes;
use envoy_types::pb::envoy::service::accesslog::v3::stream_access_logs_message::Identifier;
use prost::Message;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Messages on their way to a stream: one waits while another is written.
const WAITING: usize = 1;
/// Fields of `StreamAccessLogsMessage`.
const IDENTIFIER: u32 = 1;
const REQUESTS: u32 = 2;
const CONNECTIONS: u32 = 3;

/// Where messages of an open stream are put.
pub(super) type Stream = mpsc::Sender<Bytes>;

/// Sends entries, on the open stream or a new one.
pub(super) async fn send(
    worker: &Rc<Worker>,
    feed: &Arc<Feed>,
    cluster: &Arc<Cluster>,
    open: &mut Option<Stream>,
    (name, tcp): (&str, bool),
    entries: &[u8],
) -> Result<(), Lost> {
    let entries = otlp::field(if tcp { CONNECTIONS } else { REQUESTS }, &[entries]);
    if let Some(stream) = open.take().filter(|stream| !stream.is_closed()) {
        put(&stream, &entries).await?;
        *open = Some(stream);
        return Ok(());
    }
    let identifier = Identifier {
        node: Some(node().clone()),
        log_name: name.to_owned(),
    };
    let mut message = otlp::field(IDENTIFIER, &[&identifier.encode_to_vec()]);
    message.extend_from_slice(&entries);
    let stream = begin(worker, feed, cluster);
    put(&stream, &message).await?;
    *open = Some(stream);
    Ok(())
}

async fn put(stream: &Stream, message: &[u8]) -> Result<(), Lost> {
    let sent = stream.send(call::grpc_frame(message));
    match tokio::time::timeout(TIMEOUT, sent).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Lost::Ended),
        Err(_) => Err(Lost::Timeout(TIMEOUT)),
    }
}

/// Opens a stream, which ends with its sender or by the service.
fn begin(worker: &Rc<Worker>, feed: &Arc<Feed>, cluster: &Arc<Cluster>) -> Stream {
    let (stream, from) = mpsc::channel(WAITING);
    let (feed, cluster) = (feed.clone(), cluster.clone());
    let own = worker.clone();
    worker.spawn(async move {
        let body = RequestBody::Messages { from, back: None };
        let head = call::post(&feed.collector, "application/grpc", None);
        let answer = call::send(&own.upstreams, &cluster, head, false, body).await;
        let ended = match answer {
            Ok(answer) => answer.end_grpc().await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            let cluster = &*feed.collector.cluster_name;
            tracing::debug!(cluster, %error, "a stream of access logs has ended");
        }
    });
    stream
}
