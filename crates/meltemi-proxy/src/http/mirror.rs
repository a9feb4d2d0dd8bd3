//! Mirroring: a copy of the request to another cluster, whose answer nobody reads.

use super::body::RequestBody;
use super::call;
use super::exchange::Exchange;
use super::head::{Head, split_port};
use super::matching;
use super::trace;
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

/// A mirror that a request goes to.
pub(crate) struct Chosen {
    cluster: Arc<Cluster>,
    /// The host name gets Envoy's suffix.
    shadow_suffix: bool,
    sampled: Option<bool>,
}

/// The mirrors that this request goes to.
pub(crate) fn chosen(exchange: &Exchange, mirrors: &[Mirror]) -> Vec<Chosen> {
    mirrors
        .iter()
        .filter(|mirror| matching::chance(mirror.fraction))
        .filter_map(|mirror| {
            let cluster = exchange.snapshot.cluster(mirror.cluster)?.clone();
            Some(Chosen {
                cluster,
                shadow_suffix: mirror.shadow_suffix,
                sampled: mirror.sampled,
            })
        })
        .collect()
}

/// Sends the copies; with a body once it is complete, if it is short enough to be kept.
pub(crate) fn send(
    exchange: &Exchange,
    mirrors: Vec<Chosen>,
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
    let span = |mirror: Chosen| {
        let span = trace::begin_mirror(exchange, &mirror.cluster, mirror.sampled);
        (mirror, span)
    };
    let mirrors: Vec<_> = mirrors.into_iter().map(span).collect();
    tokio::task::spawn_local(async move {
        let _active = active;
        let chunks = match body {
            None => Vec::new(),
            Some(body) => match body.await {
                Ok(chunks) => chunks,
                Err(_) => return,
            },
        };
        for (mirror, span) in mirrors {
            let mut head = head.copy();
            if let Some(span) = &span {
                span.write(&mut head);
            }
            if mirror.shadow_suffix {
                head.authority = shadow(head.authority_str()).unwrap_or(head.authority);
            }
            let body = match chunks.is_empty() {
                true => RequestBody::Empty,
                false => RequestBody::Chunks(VecDeque::from(chunks.clone())),
            };
            let one = one(&upstreams, &mirror.cluster, head, overrides_alpn, body);
            // Nobody but the span waits for the result.
            let result = tokio::time::timeout(timeout.unwrap_or(TIMEOUT), one).await;
            if let Some(span) = span {
                span.finish(result.ok().flatten());
            }
        }
    });
}

async fn one(
    upstreams: &Upstreams,
    cluster: &Arc<Cluster>,
    head: Head,
    overrides_alpn: bool,
    body: RequestBody,
) -> Option<u16> {
    let answer = call::send(upstreams, cluster, head, overrides_alpn, body).await;
    let answer = answer.ok()?;
    let status = answer.status().as_u16();
    // Nobody waits for the answer's rest.
    let _ = answer.end().await;
    Some(status)
}

/// `host:port` becomes `host-shadow:port`, as in Envoy.
fn shadow(authority: &str) -> Option<HeaderValue> {
    let text = match split_port(authority) {
        (host, Some(port)) => format!("{host}-shadow:{port}"),
        (host, None) => format!("{host}-shadow"),
    };
    HeaderValue::from_str(&text).ok()
}
