//! One check of one endpoint: HTTP, TCP or gRPC.

use super::verdict::Verdict;
use crate::http::body::RequestBody;
use crate::http::codec::{Error, Incoming};
use crate::http::codec::{Http1Client, Http2Client};
use crate::model::{Address, ClusterConfig, Endpoint, HealthCheck, HealthProbe, HttpProbe};
use crate::net::{Connector, Stream};
use crate::tls::AlpnChoice;
use crate::upstream::ClusterStats;
use crate::upstream::connect::{self, Way};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body::Body;
use prost::Message;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Waker, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

/// Bytes of an answer that are looked at.
const MAX_ANSWER: usize = 64 * 1024;
/// As Envoy introduces itself.
const AGENT: HeaderValue = HeaderValue::from_static("Envoy/HC");
/// `HealthCheckResponse.SERVING`.
const SERVING: i32 = 1;

/// Where and how an endpoint is checked: its address with another port or host, another
/// transport.
pub(super) fn target(config: &ClusterConfig, check: &HealthCheck, endpoint: &Endpoint) -> Endpoint {
    let own = &endpoint.check;
    let address = match &endpoint.address {
        Address::Socket(address) => Address::Socket(SocketAddr::new(
            own.address.unwrap_or(address.ip()),
            check.alt_port.or(own.port).unwrap_or(address.port()),
        )),
        pipe => pipe.clone(),
    };
    let transport = match &check.transport_criteria {
        Some(criteria) => config.transport.index(criteria),
        None => endpoint.transport,
    };
    Endpoint {
        address,
        transport,
        hostname: match own.hostname.is_empty() {
            true => endpoint.hostname.clone(),
            false => own.hostname.clone(),
        },
        weight: endpoint.weight,
        health: endpoint.health,
        transport_match: Vec::new(),
        lb_metadata: Vec::new(),
        check: own.clone(),
        workload: None,
        state: endpoint.state.clone(),
    }
}

/// A connection that the next check may use, too.
pub(super) enum Kept {
    Http(HttpConnection),
    Tcp(Stream),
}

impl Kept {
    fn http(self) -> Option<HttpConnection> {
        match self {
            Self::Http(mut client) => client.is_ready().then_some(client),
            Self::Tcp(_) => None,
        }
    }

    fn tcp(self) -> Option<Stream> {
        match self {
            Self::Http(_) => None,
            Self::Tcp(mut stream) => is_silent(&mut stream).then_some(stream),
        }
    }
}

pub(super) enum HttpConnection {
    Http1(Box<Http1Client>),
    Http2(Http2Connection),
}

impl HttpConnection {
    fn is_ready(&mut self) -> bool {
        match self {
            Self::Http1(client) => client.is_ready(),
            Self::Http2(connection) => !connection.0.is_closed(),
        }
    }
}

/// Ends when it is dropped.
pub(super) struct Http2Connection(Http2Client);

impl Drop for Http2Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `kept`: the connection of the check before, and this one's where it can be used again.
pub(super) async fn probe(
    connector: &Connector,
    config: &ClusterConfig,
    check: &HealthCheck,
    target: &Endpoint,
    kept: &mut Option<Kept>,
) -> Verdict {
    let probing = async {
        let (http2, request) = match &check.probe {
            HealthProbe::Tcp { send, receive } => {
                let mut stream = match kept.take().and_then(Kept::tcp) {
                    Some(stream) => stream,
                    None => connected(connector, config, target, AlpnChoice::Own).await?,
                };
                let verdict = tcp(&mut stream, send.as_ref(), receive).await?;
                // Without an answer to wait for it is the connecting that is checked.
                let passed = matches!(verdict, Verdict::Passed);
                if check.reuse_connection && passed && !receive.is_empty() {
                    *kept = Some(Kept::Tcp(stream));
                }
                return Ok(verdict);
            }
            HealthProbe::Grpc {
                service,
                authority,
                metadata,
            } => {
                let authority = authority.as_ref();
                let request = grpc_request(config, service, authority, metadata, target)?;
                (true, request)
            }
            HealthProbe::Http(probe) => (probe.http2, http_request(config, probe, target)?),
        };
        let mut client = match kept.take().and_then(Kept::http) {
            Some(kept) => kept,
            None if http2 => {
                let stream = connected(connector, config, target, AlpnChoice::Http2).await?;
                HttpConnection::Http2(Http2Connection(Http2Client::new(stream, config)))
            }
            None => {
                let stream = connected(connector, config, target, AlpnChoice::Http11).await?;
                HttpConnection::Http1(Box::new(Http1Client::new(stream, config)))
            }
        };
        let answer = exchange(&mut client, request).await?;
        let verdict = match &check.probe {
            HealthProbe::Http(probe) => judge(probe, &answer),
            _ => grpc(&answer)?,
        };
        if check.reuse_connection {
            *kept = Some(Kept::Http(client));
        }
        Ok(verdict)
    };
    let result: Result<Verdict, Failure> = probing.await;
    result.unwrap_or_else(|error| Verdict::unreachable(error.to_string()))
}

async fn connected(
    connector: &Connector,
    config: &ClusterConfig,
    target: &Endpoint,
    offer: AlpnChoice,
) -> Result<Stream, Failure> {
    let way = Way {
        offer,
        ..Way::default()
    };
    let stats = ClusterStats::of(config);
    let connected = connect::establish(connector, &stats, config, target, way).await;
    match connected {
        Ok(connected) => Ok(connected.stream),
        Err(error) => Err(error.to_string().into()),
    }
}

/// An answer, as much of its content as is looked at, and its trailers.
struct Answer {
    head: Response<()>,
    content: Bytes,
    trailers: HeaderMap,
}

async fn exchange(
    client: &mut HttpConnection,
    request: Request<RequestBody>,
) -> Result<Answer, Failure> {
    let response = match client {
        HttpConnection::Http1(client) => client.send(request).await,
        HttpConnection::Http2(connection) => connection.0.send(request).await,
    };
    let (parts, body) = response.map_err(|failed| failed.error)?.into_parts();
    let driver = match client {
        HttpConnection::Http1(client) => Some(&mut **client),
        HttpConnection::Http2(_) => None,
    };
    let (content, trailers) = read(body, driver).await?;
    Ok(Answer {
        head: Response::from_parts(parts, ()),
        content,
        trailers,
    })
}

type Failure = Box<dyn std::error::Error>;

/// The host that checks name: configured, else the endpoint's, else the cluster's.
fn host(
    configured: Option<&HeaderValue>,
    target: &Endpoint,
    config: &ClusterConfig,
) -> Result<HeaderValue, Failure> {
    Ok(match configured {
        Some(host) => host.clone(),
        None if !target.hostname.is_empty() => HeaderValue::from_str(&target.hostname)?,
        None => HeaderValue::from_str(&config.name)?,
    })
}

fn http_request(
    config: &ClusterConfig,
    probe: &HttpProbe,
    target: &Endpoint,
) -> Result<Request<RequestBody>, Failure> {
    let host = host(probe.host.as_ref(), target, config)?;
    let mut request = Request::new(match &probe.send {
        None => RequestBody::Empty,
        Some(content) => RequestBody::Chunks(VecDeque::from([content.clone()])),
    });
    *request.method_mut() = probe.method.clone();
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, AGENT);
    if let Some(content) = &probe.send {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
    }
    for (name, value) in &probe.add {
        headers.append(name, value.clone());
    }
    for name in &probe.remove {
        headers.remove(name);
    }
    if probe.http2 {
        *request.uri_mut() = uri(&host, probe.path.as_str())?;
    } else {
        headers.insert(HOST, host);
        *request.uri_mut() = Uri::from(probe.path.clone());
    }
    Ok(request)
}

fn judge(probe: &HttpProbe, answer: &Answer) -> Verdict {
    let looked_at = probe.looked_at.min(answer.content.len());
    if !holds(&answer.content[..looked_at], &probe.receive) {
        return Verdict::unhealthy("another content than expected");
    }
    let status = answer.head.status().as_u16();
    let within =
        |ranges: &[std::ops::RangeInclusive<u16>]| ranges.iter().any(|r| r.contains(&status));
    let headers = answer.head.headers();
    if headers.contains_key("x-envoy-immediate-health-check-fail") {
        Verdict::unhealthy("it says so (x-envoy-immediate-health-check-fail)")
    } else if within(&probe.expected) {
        match headers.contains_key("x-envoy-degraded") {
            true => Verdict::Degraded,
            false => Verdict::Passed,
        }
    } else if within(&probe.retriable) {
        Verdict::unreachable(format!("status {status}"))
    } else {
        Verdict::unhealthy(format!("status {status}"))
    }
}

fn uri(host: &HeaderValue, path: &str) -> Result<Uri, Failure> {
    Ok(Uri::builder()
        .scheme("http")
        .authority(host.as_bytes())
        .path_and_query(path)
        .build()?)
}

/// The content of an answer, up to the bound, and its trailers. An HTTP/1 connection is
/// driven by who reads from it.
async fn read(
    mut body: Incoming,
    mut driver: Option<&mut Http1Client>,
) -> Result<(Bytes, HeaderMap), Error> {
    let mut content = BytesMut::new();
    let mut trailers = HeaderMap::new();
    while content.len() < MAX_ANSWER {
        let frame = poll_fn(|cx| {
            let mut frame = Pin::new(&mut body).poll_frame(cx);
            if frame.is_pending()
                && let Some(driver) = driver.as_deref_mut()
            {
                driver.drive(cx);
                frame = Pin::new(&mut body).poll_frame(cx);
            }
            std::task::Poll::Ready(ready!(frame))
        });
        let Some(frame) = frame.await.transpose()? else {
            break;
        };
        match frame.into_data() {
            Ok(data) => content.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok((content.freeze(), trailers))
}

async fn tcp(
    stream: &mut Stream,
    send: Option<&Bytes>,
    receive: &[Bytes],
) -> Result<Verdict, Failure> {
    if let Some(bytes) = send {
        stream.write_all(bytes).await?;
        stream.flush().await?;
    }
    let mut received = BytesMut::new();
    while !holds(&received, receive) {
        if received.len() >= MAX_ANSWER {
            return Ok(Verdict::unreachable("another answer than expected"));
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(Verdict::unreachable("closed before the expected answer"));
        }
    }
    Ok(Verdict::Passed)
}

/// Whether the connection is open and nothing has come that nobody asked for.
fn is_silent(stream: &mut Stream) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    let mut byte = [0];
    let read = Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte));
    read.is_pending()
}

/// Whether all parts are there, one behind the other.
fn holds(mut bytes: &[u8], parts: &[Bytes]) -> bool {
    parts.iter().all(|part| {
        let found = memchr::memmem::find(bytes, part);
        if let Some(at) = found {
            bytes = &bytes[at + part.len()..];
        }
        found.is_some()
    })
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

fn grpc_request(
    config: &ClusterConfig,
    service: &str,
    authority: Option<&HeaderValue>,
    metadata: &[(http::HeaderName, HeaderValue)],
    target: &Endpoint,
) -> Result<Request<RequestBody>, Failure> {
    let message = HealthRequest {
        service: service.to_owned(),
    }
    .encode_to_vec();
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.extend_from_slice(&[0]);
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(&message);
    let mut request = Request::new(RequestBody::Chunks(VecDeque::from([frame.freeze()])));
    *request.method_mut() = Method::POST;
    let host = host(authority, target, config)?;
    *request.uri_mut() = uri(&host, "/grpc.health.v1.Health/Check")?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, AGENT);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    for (name, value) in metadata {
        headers.append(name, value.clone());
    }
    Ok(request)
}

fn grpc(answer: &Answer) -> Result<Verdict, Failure> {
    let (head, trailers) = (&answer.head, &answer.trailers);
    if head.status() != http::StatusCode::OK {
        return Ok(Verdict::unhealthy(format!(
            "status {}",
            head.status().as_u16()
        )));
    }
    let status = |headers: &HeaderMap| headers.get("grpc-status").cloned();
    match status(trailers).or_else(|| status(head.headers())) {
        Some(status) if status == "0" => {}
        Some(status) => return Ok(Verdict::unhealthy(format!("gRPC status {status:?}"))),
        None => return Ok(Verdict::unreachable("an answer without a gRPC status")),
    }
    let answer = answer.content.get(5..).unwrap_or_default();
    Ok(match HealthResponse::decode(answer)?.status {
        SERVING => Verdict::Passed,
        other => Verdict::unhealthy(format!("serving status {other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_connection_by_tcp_is_used_again_until_the_endpoint_closes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut kept = Kept::Tcp(Stream::from(client));
        let (send, receive) = (Bytes::from_static(b"ping"), [Bytes::from_static(b"pong")]);
        for _ in 0..2 {
            let mut stream = kept.tcp().expect("open and silent");
            let answering = async {
                server.read_exact(&mut [0; 4]).await.unwrap();
                server.write_all(b"pong").await.unwrap();
            };
            let (verdict, ()) = tokio::join!(tcp(&mut stream, Some(&send), &receive), answering);
            assert!(matches!(verdict.unwrap(), Verdict::Passed));
            kept = Kept::Tcp(stream);
        }
        drop(server);
        let Kept::Tcp(stream) = &mut kept else {
            unreachable!("it was one by TCP")
        };
        while is_silent(stream) {
            tokio::task::yield_now().await;
        }
        assert!(kept.tcp().is_none());
    }

    #[test]
    fn parts_are_found_in_their_order() {
        let parts = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        assert!(holds(b"..one..two", &parts));
        assert!(!holds(b"two one", &parts));
        assert!(!holds(b"one", &parts));
        assert!(holds(b"", &[]));
    }
}
