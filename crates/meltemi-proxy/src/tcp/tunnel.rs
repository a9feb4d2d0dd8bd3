//! A connection that goes on inside a CONNECT or POST of HTTP (`tunneling_config`): the upstream
//! is a proxy that connects it further, over HTTP/1.1 or in a stream of HTTP/2.

use super::proxy::{context, target};
use super::stats::TcpStats;
use crate::clock;
use crate::http::body::RequestBody;
use crate::http::codec::{Error, Incoming, Opaque, Outgoing};
use crate::http::held::Held;
use crate::model::{
    AddAction, AddName, Cluster, HeaderText, TcpProxy, Tunneling, UpstreamProtocol,
};
use crate::net::Stream;
use crate::telemetry::{Flags, StreamInfo, log};
use crate::tls::AlpnChoice;
use crate::upstream::{
    Lease, RequestGuard, UpstreamError, Upstreams, Wanted, WantedProtocol, transport,
};
use crate::worker::{DrainSignal, Worker};
use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, Parts, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body::{Body, Frame};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// Serves a connection until the tunnel has ended, nothing moves for too long, or its time is
/// over.
pub(super) async fn serve(
    downstream: Stream,
    proxy: &TcpProxy,
    tunneling: &Tunneling,
    info: &mut StreamInfo,
    worker: &Rc<Worker>,
    drain: &DrainSignal,
    stats: TcpStats,
) {
    let downstream = Opaque::new(downstream);
    let held = Held::new();
    let Some(answer) = open(proxy, tunneling, info, worker, &held, stats).await else {
        // Nothing was relayed: an orderly end would look like an empty answer.
        downstream.reset_on_close();
        return;
    };
    held.release(downstream.receive());
    let (sent, received_at) = (answer.sent.clone(), answer.activity.clone());
    let silent = async {
        let Some(idle) = proxy.idle_timeout else {
            return std::future::pending().await;
        };
        loop {
            let due = held.activity().max(received_at.get()) + idle;
            if clock::now() >= due {
                return;
            }
            tokio::time::sleep_until(due.into()).await;
        }
    };
    tokio::select! {
        result = downstream.send(answer) => if result.is_err() {
            // A reset is passed on: what arrived may be incomplete.
            downstream.reset_on_close();
        },
        () = silent => stats.idle.inc(),
        () = drain.expired() => {}
    }
    info.bytes_received = held.taken();
    info.bytes_sent = sent.get();
}

/// Has the tunnel opened, with as many attempts as configured.
async fn open(
    proxy: &TcpProxy,
    tunneling: &Tunneling,
    info: &mut StreamInfo,
    worker: &Rc<Worker>,
    held: &Held,
    stats: TcpStats,
) -> Option<Answer> {
    let snapshot = worker.snapshot();
    let cluster = target(proxy, &snapshot, info, stats)?;
    for attempt in 1..=proxy.max_connect_attempts.max(1) {
        info.attempts = attempt;
        match once(&worker.upstreams, cluster, proxy, tunneling, info, held).await {
            Ok(answer) => {
                info.flags = Flags::default();
                info.upstream_failure = None;
                return Some(answer);
            }
            Err(Refused::Upstream(error)) => {
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
            Err(Refused::Tunnel(reason)) => {
                info.flags.insert(Flags::UPSTREAM_CONNECTION_FAILURE);
                info.upstream_failure = Some(reason.into());
            }
        }
    }
    info.flags.insert(Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
    None
}

/// Why there is no tunnel.
enum Refused {
    Upstream(UpstreamError),
    /// What the upstream said, or how it broke off.
    Tunnel(String),
}

impl From<UpstreamError> for Refused {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

async fn once(
    upstreams: &Upstreams,
    cluster: &Arc<Cluster>,
    proxy: &TcpProxy,
    tunneling: &Tunneling,
    info: &mut StreamInfo,
    held: &Held,
) -> Result<Answer, Refused> {
    let name = info.connection.facts.server_name.clone();
    let context = context(proxy, info, name.as_deref());
    let ends = context.ends;
    let picked = upstreams
        .pick(cluster, &context)
        .map_err(UpstreamError::from)?;
    let host = text(&tunneling.hostname, info);
    let unfit = || Refused::Tunnel(format!("{host:?} is no host to connect to"));
    let authority = Authority::try_from(&*host).map_err(|_| unfit())?;
    let transport = transport(&cluster.config, &picked.endpoint);
    let (protocol, offer) = match cluster.config.protocol {
        UpstreamProtocol::Http1 | UpstreamProtocol::Downstream => {
            (WantedProtocol::Http1, AlpnChoice::Http11)
        }
        UpstreamProtocol::Http2 => (WantedProtocol::Http2, AlpnChoice::Http2),
        UpstreamProtocol::Alpn => (WantedProtocol::Alpn, AlpnChoice::Either),
    };
    let wanted = Wanted {
        protocol,
        offer,
        sni: transport
            .tls()
            .filter(|context| context.auto_sni)
            .map(|_| authority.host().into()),
        ends: transport.header().and(ends),
    };
    let mut lease = upstreams.acquire(cluster, &picked, &wanted).await?;
    let guard = RequestGuard::new(cluster, &picked, false)?;
    let facts = lease.facts();
    info.upstream_local = facts.local;
    info.upstream_remote = facts.remote;
    info.upstream_tls = facts.tls.clone();
    info.endpoint = Some(picked.endpoint.clone());
    let http2 = matches!(lease, Lease::Http2(_));
    let secure = facts.tls.is_some();
    let request = request(tunneling, authority, http2, secure, info, held).ok_or_else(unfit)?;
    let answer = lease.send(request).await;
    let answer = answer.map_err(|error| Refused::Tunnel(error.error.to_string()))?;
    if !answer.status().is_success() {
        let status = answer.status().as_u16();
        return Err(Refused::Tunnel(format!("tunnel_response:{status}")));
    }
    Ok(Answer {
        body: answer.into_body(),
        lease,
        sent: Rc::default(),
        activity: Rc::new(Cell::new(clock::now())),
        _guard: guard,
    })
}

fn request(
    tunneling: &Tunneling,
    authority: Authority,
    http2: bool,
    secure: bool,
    info: &StreamInfo,
    held: &Held,
) -> Option<Request<RequestBody>> {
    let mut request = Request::new(RequestBody::Held(held.clone()));
    let headers = request.headers_mut();
    if !http2 {
        headers.insert(HOST, HeaderValue::from_str(authority.as_str()).ok()?);
    }
    add_headers(tunneling, info, headers);
    *request.method_mut() = match tunneling.post {
        None => Method::CONNECT,
        Some(_) => Method::POST,
    };
    let mut parts = Parts::default();
    parts.authority = Some(authority);
    if let Some(path) = &tunneling.post {
        parts.path_and_query = Some(path.clone());
        parts.scheme = Some(match secure {
            true => Scheme::HTTPS,
            false => Scheme::HTTP,
        });
    }
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(request)
}

fn add_headers(tunneling: &Tunneling, info: &StreamInfo, headers: &mut HeaderMap) {
    for add in &tunneling.headers.add {
        let AddName::Header(name) = &add.name else {
            continue;
        };
        let Ok(value) = HeaderValue::from_str(&text(&add.value, info)) else {
            continue;
        };
        if value.is_empty() && !add.keep_empty {
            continue;
        }
        match add.action {
            AddAction::AppendIfExistsOrAdd => {
                headers.append(name.clone(), value);
            }
            AddAction::AddIfAbsent if headers.contains_key(name) => {}
            AddAction::OverwriteIfExists if !headers.contains_key(name) => {}
            _ => {
                headers.insert(name.clone(), value);
            }
        }
    }
}

fn text(value: &HeaderText, info: &StreamInfo) -> String {
    match value {
        HeaderText::Literal(value) => value.to_str().unwrap_or_default().to_owned(),
        HeaderText::Format(format) => log::header_value(format, info),
    }
}

/// What comes back through the tunnel.
struct Answer {
    body: Incoming,
    lease: Lease,
    sent: Rc<Cell<u64>>,
    activity: Rc<Cell<Instant>>,
    _guard: RequestGuard,
}

// The tunnel has a limit of its own for silence.
impl Outgoing for Answer {}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let mut frame = Pin::new(&mut this.body).poll_frame(cx);
        if frame.is_pending()
            && let Some(client) = this.lease.driven()
        {
            client.drive(cx);
            frame = Pin::new(&mut this.body).poll_frame(cx);
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            this.sent.set(this.sent.get() + length);
            this.activity.set(clock::now());
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::headers;
    use crate::model::{ConnectionFacts, Direction, HeaderOps, Transport};
    use crate::telemetry::{ConnectionInfo, Protocol};
    use http::uri::PathAndQuery;

    fn info() -> StreamInfo {
        let address = "127.0.0.1:80".parse().unwrap();
        let connection = ConnectionInfo::new(
            ConnectionFacts {
                destination: address,
                source: "10.0.0.9:4711".parse().unwrap(),
                peer: "10.0.0.9:4711".parse().unwrap(),
                server_name: Some("name.test".into()),
                transport: Transport::RawBuffer,
                application_protocols: Vec::new(),
            },
            address,
            Direction::Outbound,
            "",
        );
        StreamInfo::new(Arc::new(connection), Protocol::Tcp)
    }

    #[test]
    fn heads_of_both_methods_and_protocols() {
        let info = info();
        let mut tunneling = Tunneling {
            hostname: headers::text_value("%REQUESTED_SERVER_NAME%:443").unwrap(),
            post: None,
            headers: HeaderOps::default(),
        };
        let host = text(&tunneling.hostname, &info);
        assert_eq!(host, "name.test:443");
        let head = |tunneling: &Tunneling, http2| {
            let authority = Authority::try_from(&*host).unwrap();
            request(tunneling, authority, http2, false, &info, &Held::new()).unwrap()
        };
        let connect = head(&tunneling, false);
        assert_eq!(
            (connect.method(), connect.uri().to_string()),
            (&Method::CONNECT, host.clone())
        );
        assert_eq!(connect.headers()[HOST], *host);
        assert!(head(&tunneling, true).headers().is_empty());
        tunneling.post = Some(PathAndQuery::from_static("/through"));
        let post = head(&tunneling, true);
        assert_eq!(post.method(), Method::POST);
        assert_eq!(post.uri(), "http://name.test:443/through");
    }
}
