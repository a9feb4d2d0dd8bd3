//! Mirroring: a copy of the request to another cluster, whose answer nobody reads.

use super::body::RequestBody;
use super::call;
use super::exchange::Exchange;
use super::head::{Head, split_port};
use super::matching;
use super::upload::Upload;
use crate::model::{Cluster, Mirror};
use crate::upstream::Upstreams;
use http::HeaderValue;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Mirrored requests of a worker in flight; more are not sent.
const MAX_ACTIVE: u32 = 256;
/// A mirror's answer is waited for no longer than this when the route has no timeout.
const TIMEOUT: Duration = Duration::from_secs(15);

thread_local! {
    static ACTIVE: Cell<u32> = const { Cell::new(0) };
}

struct Active;

impl Active {
    fn new() -> Option<Self> {
        (ACTIVE.get() < MAX_ACTIVE).then(|| {
            ACTIVE.set(ACTIVE.get() + 1);
            Self
        })
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        ACTIVE.set(ACTIVE.get() - 1);
    }
}

/// The mirrors that this request goes to, and whether its host name gets Envoy's suffix.
pub(crate) fn chosen(exchange: &Exchange, mirrors: &[Mirror]) -> Vec<(Arc<Cluster>, bool)> {
    mirrors
        .iter()
        .filter(|mirror| matching::chance(mirror.fraction))
        .filter_map(|mirror| {
            let cluster = exchange.snapshot.cluster(mirror.cluster)?.clone();
            Some((cluster, mirror.shadow_suffix))
        })
        .collect()
}

/// Sends the copies; with a body once it is complete, if it is short enough to be kept.
pub(crate) fn send(
    exchange: &Exchange,
    clusters: Vec<(Arc<Cluster>, bool)>,
    head: &Head,
    upload: Option<&Rc<Upload>>,
    timeout: Option<Duration>,
) {
    let body = upload.map(|upload| upload.for_mirror());
    let Some(active) = Active::new() else {
        return;
    };
    let head = head.copy();
    let upstreams = exchange.downstream.worker.upstreams.clone();
    let overrides_alpn = exchange.overrides_alpn.get();
    tokio::task::spawn_local(async move {
        let _active = active;
        let chunks = match body {
            None => Vec::new(),
            Some(body) => match body.await {
                Ok(chunks) => chunks,
                Err(_) => return,
            },
        };
        for (cluster, shadow_suffix) in clusters {
            let mut head = head.copy();
            if shadow_suffix {
                head.authority = shadow(head.authority_str()).unwrap_or(head.authority);
            }
            let body = match chunks.is_empty() {
                true => RequestBody::Empty,
                false => RequestBody::Chunks(VecDeque::from(chunks.clone())),
            };
            let one = one(&upstreams, &cluster, head, overrides_alpn, body);
            // Nobody waits for the result.
            let _ = tokio::time::timeout(timeout.unwrap_or(TIMEOUT), one).await;
        }
    });
}

async fn one(
    upstreams: &Upstreams,
    cluster: &Arc<Cluster>,
    head: Head,
    overrides_alpn: bool,
    body: RequestBody,
) -> Option<()> {
    let answer = call::send(upstreams, cluster, head, overrides_alpn, body).await;
    // Nobody waits for the answer either.
    let _ = answer.ok()?.end().await;
    Some(())
}

/// `host:port` becomes `host-shadow:port`, as in Envoy.
fn shadow(authority: &str) -> Option<HeaderValue> {
    let text = match split_port(authority) {
        (host, Some(port)) => format!("{host}-shadow:{port}"),
        (host, None) => format!("{host}-shadow"),
    };
    HeaderValue::from_str(&text).ok()
}
