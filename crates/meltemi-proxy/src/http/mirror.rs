//! Mirroring: a copy of the request to another cluster, whose answer nobody reads.

use super::attempt::{assemble, wanted};
use super::body::RequestBody;
use super::exchange::Exchange;
use super::head::{Head, split_port};
use super::matching;
use super::upload::Upload;
use crate::model::{Cluster, Mirror};
use crate::upstream::{Lease, Outcome, PickContext, RequestGuard, Upstreams};
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
    let context = PickContext {
        host: Some(head.host()),
        ..PickContext::default()
    };
    let picked = upstreams.pick(cluster, &context).ok()?;
    // Its answer concerns no client: the connection is the proxy's own.
    let wanted = wanted(overrides_alpn, cluster, &picked.endpoint, &head, None);
    let mut lease = upstreams.acquire(cluster, &picked, &wanted).await.ok()?;
    let _request = RequestGuard::new(cluster, &picked, false).ok()?;
    let request = assemble(head, matches!(lease, Lease::Http2(_)), body)?;
    let result = lease.send(request).await;
    let outcome = match &result {
        Ok(response) => Outcome::Status(response.status().as_u16()),
        Err(_) => Outcome::LocalFailure,
    };
    upstreams.report(cluster, &picked.endpoint, outcome);
    drain(result.ok()?.into_body(), lease).await;
    Some(())
}

/// Reads the answer to its end, so that the connection can be used again.
async fn drain(mut body: super::codec::Incoming, mut lease: Lease) {
    use http_body::Body;
    let complete = std::future::poll_fn(|cx| {
        loop {
            let mut frame = std::pin::Pin::new(&mut body).poll_frame(cx);
            if frame.is_pending()
                && let Some(client) = lease.driven()
            {
                client.drive(cx);
                frame = std::pin::Pin::new(&mut body).poll_frame(cx);
            }
            match std::task::ready!(frame) {
                Some(Ok(_)) => {}
                Some(Err(_)) => return std::task::Poll::Ready(false),
                None => return std::task::Poll::Ready(true),
            }
        }
    })
    .await;
    if let (true, Lease::Http1(lease)) = (complete, lease) {
        lease.give_back();
    }
}

/// `host:port` becomes `host-shadow:port`, as in Envoy.
fn shadow(authority: &str) -> Option<HeaderValue> {
    let text = match split_port(authority) {
        (host, Some(port)) => format!("{host}-shadow:{port}"),
        (host, None) => format!("{host}-shadow"),
    };
    HeaderValue::from_str(&text).ok()
}
