//! One check of one endpoint: HTTP, TCP or gRPC, on a connection of its own.

use super::verdict::Verdict;
use crate::http::body::RequestBody;
use crate::http::codec::{Error, Incoming};
use crate::http::codec::{Http1Client, Http2Client};
use crate::model::{Address, ClusterConfig, Endpoint, HealthCheck, HealthProbe, HttpProbe};
use crate::net::{Connector, Stream};
use crate::upstream::ClusterStats;
use crate::upstream::connect::{self, Offer, Way};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body::Body;
use prost::Message;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::ready;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

pub(super) async fn probe(
    connector: &Connector,
    config: &ClusterConfig,
    check: &HealthCheck,
    target: &Endpoint,
) -> Verdict {
    let stats = ClusterStats::of(config);
    let http2 = match &check.probe {
        HealthProbe::Grpc { .. } => true,
        HealthProbe::Http(probe) => probe.http2,
        HealthProbe::Tcp { .. } => false,
    };
    let way = Way {
        offer: if http2 { Offer::Http2 } else { Offer::Own },
        ..Way::default()
    };
    let connected = connect::establish(connector, &stats, config, target, way).await;
    let stream = match connected {
        Ok(connected) => connected.stream,
        Err(error) => return Verdict::unreachable(error.to_string()),
    };
    let result = match &check.probe {
        HealthProbe::Http(probe) => http(stream, config, probe, target).await,
        HealthProbe::Tcp { send, receive } => tcp(stream, send.as_ref(), receive).await,
        HealthProbe::Grpc {
            service,
            authority,
            metadata,
        } => {
            grpc(
                stream,
                config,
                service,
                authority.as_ref(),
                metadata,
                target,
            )
            .await
        }
    };
    result.unwrap_or_else(|error| Verdict::unreachable(error.to_string()))
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

async fn http(
    stream: Stream,
    config: &ClusterConfig,
    probe: &HttpProbe,
    target: &Endpoint,
) -> Result<Verdict, Failure> {
    let host = host(probe.host.as_ref(), target, config)?;
    let mut request = Request::new(RequestBody::Empty);
    *request.method_mut() = probe.method.clone();
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, AGENT);
    for (name, value) in &probe.add {
        headers.append(name, value.clone());
    }
    for name in &probe.remove {
        headers.remove(name);
    }
    let response = if probe.http2 {
        *request.uri_mut() = uri(&host, probe.path.as_str())?;
        let client = Http2Client::new(stream, config).await?;
        let response = client.send(request).await.map_err(|failed| failed.error)?;
        let (parts, body) = response.into_parts();
        read(body, None).await?;
        client.abort();
        Response::from_parts(parts, ())
    } else {
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = Uri::from(probe.path.clone());
        let mut client = Http1Client::new(stream, config);
        let response = client.send(request).await.map_err(|failed| failed.error)?;
        let (parts, body) = response.into_parts();
        read(body, Some(&mut client)).await?;
        Response::from_parts(parts, ())
    };
    Ok(judge(probe, &response))
}

fn judge(probe: &HttpProbe, response: &Response<()>) -> Verdict {
    let status = response.status().as_u16();
    let within =
        |ranges: &[std::ops::RangeInclusive<u16>]| ranges.iter().any(|r| r.contains(&status));
    let headers = response.headers();
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
    mut stream: Stream,
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

async fn grpc(
    stream: Stream,
    config: &ClusterConfig,
    service: &str,
    authority: Option<&HeaderValue>,
    metadata: &[(http::HeaderName, HeaderValue)],
    target: &Endpoint,
) -> Result<Verdict, Failure> {
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
    let client = Http2Client::new(stream, config).await?;
    let response = client.send(request).await.map_err(|failed| failed.error)?;
    let (parts, body) = response.into_parts();
    let (content, trailers) = read(body, None).await?;
    client.abort();
    if parts.status != http::StatusCode::OK {
        return Ok(Verdict::unhealthy(format!(
            "status {}",
            parts.status.as_u16()
        )));
    }
    let status = |headers: &HeaderMap| headers.get("grpc-status").cloned();
    match status(&trailers).or_else(|| status(&parts.headers)) {
        Some(status) if status == "0" => {}
        Some(status) => return Ok(Verdict::unhealthy(format!("gRPC status {status:?}"))),
        None => return Ok(Verdict::unreachable("an answer without a gRPC status")),
    }
    let answer = content.get(5..).unwrap_or_default();
    Ok(match HealthResponse::decode(answer)?.status {
        SERVING => Verdict::Passed,
        other => Verdict::unhealthy(format!("serving status {other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::holds;
    use bytes::Bytes;

    #[test]
    fn parts_are_found_in_their_order() {
        let parts = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        assert!(holds(b"..one..two", &parts));
        assert!(!holds(b"two one", &parts));
        assert!(!holds(b"one", &parts));
        assert!(holds(b"", &[]));
    }
}
