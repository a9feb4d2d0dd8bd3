//! One attempt: a connection, the request on it, the answer's head.

use super::body::RequestBody;
use super::codec::{Incoming, SwitchTo};
use super::exchange::Exchange;
use super::head::Head;
use super::names;
use super::reply::{Reply, Reset};
use super::retry::Failure;
use super::timeouts::{Expired, Watchdog};
use super::upload::Upload;
use crate::clock;
use crate::model::{Cluster, Endpoint, UpstreamHttp1, UpstreamProtocol};
use crate::telemetry::Protocol;
use crate::tls::AlpnChoice;
use crate::upstream::{
    Ends, Lease, Outcome, Picked, RequestGuard, UpstreamError, Wanted, WantedProtocol, transport,
};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE};
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use http_body::Body;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

/// Fresh connections tried when pooled ones turn out to be closed before anything was sent.
const STALE_CONNECTIONS: u32 = 3;

/// An answer's head, and all that its body needs.
pub(crate) struct Answered {
    pub response: Response<Incoming>,
    pub lease: Lease,
    pub request: RequestGuard,
    pub sent: std::time::Instant,
}

/// No answer.
pub(crate) struct Failed {
    pub failure: Failure,
    pub reply: Reply,
}

impl Failed {
    fn local(reply: Reply) -> Self {
        Self {
            failure: Failure::Local,
            reply,
        }
    }

    pub fn upstream(error: &UpstreamError, retried: bool) -> Self {
        let failure = match error {
            UpstreamError::Connect { .. } | UpstreamError::Tls { .. } => Failure::Connect,
            _ => Failure::Local,
        };
        Self {
            failure,
            reply: Reply::upstream(error, retried),
        }
    }
}

/// How this request is carried to this endpoint.
pub(crate) fn wanted(
    overrides_alpn: bool,
    cluster: &Cluster,
    endpoint: &Endpoint,
    head: &Head,
    ends: Option<Ends>,
) -> Wanted {
    let protocol = match (&cluster.config.protocol, head.protocol) {
        (UpstreamProtocol::Http1, _) => WantedProtocol::Http1,
        (UpstreamProtocol::Http2, _) => WantedProtocol::Http2,
        (UpstreamProtocol::Downstream, Protocol::Http2) => WantedProtocol::Http2,
        (UpstreamProtocol::Downstream, _) => WantedProtocol::Http1,
        (UpstreamProtocol::Alpn, _) => WantedProtocol::Alpn,
    };
    let overrides = overrides_alpn && cluster.config.alpn_override;
    let offer = match protocol {
        WantedProtocol::Http1 if overrides => AlpnChoice::IstioHttp11,
        WantedProtocol::Http2 if overrides => AlpnChoice::IstioHttp2,
        WantedProtocol::Http1 => AlpnChoice::Http11,
        WantedProtocol::Http2 => AlpnChoice::Http2,
        WantedProtocol::Alpn => AlpnChoice::Either,
    };
    let transport = transport(&cluster.config, endpoint);
    let auto_sni = transport.tls().is_some_and(|context| context.auto_sni);
    Wanted {
        protocol,
        offer,
        sni: auto_sni.then(|| server_name(head.authority_str()).into()),
        ends: transport.header().and(ends),
    }
}

/// The host of an authority, an IPv6 address without its brackets.
fn server_name(authority: &str) -> &str {
    let (host, _) = super::head::split_port(authority);
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host)
}

/// Makes the attempt with `head`, and takes it when a connection is there; `ends_connect`: of a
/// CONNECT, the endpoint gets what comes in the tunnel, and not the request. Limits of `watchdog`
/// apply from here to the answer's head.
pub(crate) async fn send(
    exchange: &Exchange,
    cluster: &Arc<Cluster>,
    picked: &Picked,
    head: &mut Option<Head>,
    upload: Option<&Rc<Upload>>,
    ends_connect: bool,
    watchdog: &mut Watchdog,
) -> Result<Answered, Failed> {
    let record = &exchange.record;
    let retried = record.info.borrow().attempts > 1;
    let upstreams = &exchange.downstream.worker.upstreams;
    let facts = &exchange.downstream.info.facts;
    let asked = head
        .as_ref()
        .ok_or_else(|| Failed::local(Reply::no_route()))?;
    let ends_connect = ends_connect && asked.method == Method::CONNECT;
    let ends = (facts.source, facts.destination);
    let wanted = wanted(
        exchange.overrides_alpn.get(),
        cluster,
        &picked.endpoint,
        asked,
        Some(ends),
    );
    let mut again: Option<Box<Request<RequestBody>>> = None;
    for round in 0..=STALE_CONNECTIONS {
        let acquired = match ends_connect {
            false => {
                let acquired = pin!(upstreams.acquire(cluster, picked, &wanted));
                watchdog.guard(record, acquired).await
            }
            true => {
                let mut acquired = Box::pin(upstreams.acquire_tcp(cluster, picked, ends));
                watchdog.guard(record, acquired.as_mut()).await
            }
        };
        let mut lease = match acquired {
            Ok(Ok(lease)) => lease,
            Ok(Err(error)) => {
                record.info.borrow_mut().upstream_failure = error.transport_failure();
                return Err(Failed::upstream(&error, retried));
            }
            Err(expired) => return Err(timed_out(exchange, cluster, picked, expired)),
        };
        let request_guard = match RequestGuard::new(cluster, picked, exchange.high_priority) {
            Ok(guard) => guard,
            Err(error) => {
                if let Lease::Http1(lease) = lease {
                    lease.give_back();
                }
                return Err(Failed::upstream(&error, retried));
            }
        };
        exchange.note_connection(lease.facts());
        record.info.borrow_mut().upstream_protocol = Some(match lease {
            Lease::Http1(_) => Protocol::Http11,
            Lease::Http2(_) => Protocol::Http2,
            Lease::Tcp(_) => Protocol::Tcp,
        });
        let request = match (head.take(), again.take()) {
            (Some(head), _) => match build(head, &lease, cluster.config.http1, upload) {
                Some(request) => request,
                None => return Err(Failed::local(Reply::bad_request("http.invalid_authority"))),
            },
            (None, Some(request)) => *request,
            (None, None) => return Err(Failed::local(Reply::no_route())),
        };
        let sent = clock::now();
        let result = match &mut lease {
            Lease::Http1(lease) => {
                let answer = pin!(lease.client().send(request));
                watchdog.guard(record, answer).await
            }
            Lease::Http2(lease) => {
                let answer = pin!(lease.client().send(request));
                watchdog.guard(record, answer).await
            }
            Lease::Tcp(lease) => Ok(lease.send(request)),
        };
        let mut error = match result {
            Ok(Ok(response)) => {
                record.touch();
                record.info.borrow_mut().first_upstream_byte = Some(record.activity.get());
                upstreams.report(
                    cluster,
                    &picked.endpoint,
                    Outcome::Status(outcome(&response)),
                );
                return Ok(Answered {
                    response,
                    lease,
                    request: request_guard,
                    sent,
                });
            }
            Ok(Err(error)) => error,
            Err(expired) => return Err(timed_out(exchange, cluster, picked, expired)),
        };
        if let Some(reply) = upload.and_then(|upload| upload.failure()) {
            return Err(Failed::local(reply));
        }
        match error.unsent.take() {
            // The pooled connection was closed and nothing left us: not an attempt.
            Some(request) if round < STALE_CONNECTIONS => {
                again = Some(request);
                continue;
            }
            unsent => {
                tracing::debug!(error = %error.error, "upstream request failed");
                upstreams.report(cluster, &picked.endpoint, Outcome::LocalFailure);
                let (reset, failure) = if unsent.is_some() {
                    (Reset::ConnectionTermination, Failure::Unsent)
                } else if error.refused() {
                    (Reset::RefusedStream, Failure::Refused)
                } else if error.connection_ended() {
                    (Reset::ConnectionTermination, Failure::Reset)
                } else if error.error.is_malformed() {
                    (Reset::ProtocolError, Failure::Reset)
                } else {
                    (Reset::Remote, Failure::Reset)
                };
                if matches!(reset, Reset::Remote | Reset::RefusedStream) {
                    picked.pools.stats().rq_rx_reset.inc();
                }
                let verdict = error.error.transport_failure();
                if let Some(verdict) = verdict {
                    record.info.borrow_mut().upstream_failure = Some(verdict.into());
                }
                return Err(Failed {
                    failure,
                    reply: Reply::reset(reset, verdict, retried),
                });
            }
        }
    }
    Err(Failed {
        failure: Failure::Unsent,
        reply: Reply::reset(Reset::ConnectionTermination, None, retried),
    })
}

/// Status for outlier detection: a gRPC error in the head counts as its HTTP status.
fn outcome(response: &Response<Incoming>) -> u16 {
    match super::grpc::status(response.headers()) {
        Some(status) if super::grpc::is_grpc(response.headers()) => {
            super::grpc::http_of(status).as_u16()
        }
        _ => response.status().as_u16(),
    }
}

fn timed_out(
    exchange: &Exchange,
    cluster: &Arc<Cluster>,
    picked: &Picked,
    expired: Expired,
) -> Failed {
    let complete = exchange.record.request_complete.get().is_some();
    let upstream = |details| {
        let upstreams = &exchange.downstream.worker.upstreams;
        upstreams.report(cluster, &picked.endpoint, Outcome::LocalFailure);
        Reply::upstream_timeout(details)
    };
    let stats = picked.pools.stats();
    match expired {
        Expired::PerTry => stats.rq_per_try_timeout.inc(),
        Expired::PerTryIdle => stats.rq_per_try_idle_timeout.inc(),
        _ => {}
    }
    match expired {
        Expired::PerTry => Failed {
            failure: Failure::PerTryTimeout,
            reply: upstream("upstream_per_try_timeout"),
        },
        Expired::PerTryIdle => Failed {
            failure: Failure::PerTryTimeout,
            reply: upstream("upstream_per_try_idle_timeout"),
        },
        Expired::Global => Failed::local(upstream("response_timeout")),
        Expired::StreamIdle => Failed::local(Reply::stream_idle(complete)),
        Expired::MaxStream => Failed::local(Reply::max_stream_duration(complete)),
        Expired::Request => Failed::local(Reply::request_timeout()),
    }
}

/// The request in the upstream connection's protocol.
fn build(
    head: Head,
    lease: &Lease,
    http1: UpstreamHttp1,
    upload: Option<&Rc<Upload>>,
) -> Option<Request<RequestBody>> {
    let body = match upload {
        Some(upload) => {
            let trailers = matches!(lease, Lease::Http2(_)) || http1.trailers;
            RequestBody::Client(super::upload::UploadBody::new(upload.clone(), trailers))
        }
        None => RequestBody::Empty,
    };
    if let (Lease::Http2(_), Some(upload), None) = (lease, upload, &head.upgrade) {
        // HTTP/2 has nothing to save by waiting.
        upload.proceed();
    }
    assemble(head, matches!(lease, Lease::Http2(_)), body)
}

/// `None` when the authority cannot stand in an HTTP/2 request.
pub(crate) fn assemble(head: Head, http2: bool, body: RequestBody) -> Option<Request<RequestBody>> {
    let mut request = Request::new(body);
    let connect = head.method == Method::CONNECT;
    *request.method_mut() = head.method;
    *request.headers_mut() = head.headers;
    let switch = head.upgrade.filter(|_| !connect).map(SwitchTo);
    if http2 {
        let mut parts = http::uri::Parts::default();
        parts.authority = Some(http::uri::Authority::try_from(head.authority.as_bytes()).ok()?);
        if !connect {
            parts.scheme = match head.scheme {
                "https" => Some(http::uri::Scheme::HTTPS),
                _ => Some(http::uri::Scheme::HTTP),
            };
            parts.path_and_query = Some(head.path);
        }
        if let Some(switch) = switch {
            *request.method_mut() = Method::CONNECT;
            request.extensions_mut().insert(switch);
        }
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        *request.version_mut() = Version::HTTP_2;
        return Some(request);
    }
    if let Some(spelling) = head.spelling {
        *request.extensions_mut() = *spelling;
    }
    *request.uri_mut() = if connect {
        Uri::try_from(head.authority.as_bytes()).ok()?
    } else {
        Uri::from(head.path)
    };
    let headers = request.headers_mut();
    headers.insert(HOST, head.authority);
    if let Some(SwitchTo(token)) = &switch {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, token.clone());
    } else if headers.contains_key(http::header::TE) {
        // RFC 9110 10.1.4: TE is announced as a hop-by-hop header.
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    names::remove_rare(headers, &names::HTTP2_SETTINGS);
    if let Some(switch) = switch {
        request.extensions_mut().insert(switch);
    }
    // Servers expect a body of these methods: it is said that there is none (RFC 9110 8.6).
    let bodiless = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::DELETE | Method::TRACE | Method::CONNECT
    );
    if !bodiless && request.body().is_end_stream() {
        let headers = request.headers_mut();
        if !headers.contains_key(CONTENT_LENGTH) {
            headers.insert(CONTENT_LENGTH, names::ZERO.clone());
        }
    }
    Some(request)
}
