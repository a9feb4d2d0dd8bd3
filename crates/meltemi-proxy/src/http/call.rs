//! Requests of the proxy's own to a cluster, outside of any exchange.

use super::attempt::{assemble, wanted};
use super::body::RequestBody;
use super::codec::Incoming;
use super::grpc;
use super::head::Head;
use crate::model::{Cluster, Collector};
use crate::telemetry::Protocol;
use crate::upstream::{Lease, Outcome, PickContext, RequestGuard, UpstreamError, Upstreams};
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("the request cannot be written")]
    Unwritable,
    #[error("{0}")]
    Broken(#[from] super::codec::Error),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("answered gRPC status {0}")]
    Grpc(u32),
}

/// The head of an answer, and what its rest needs.
pub(crate) struct Answer {
    response: Response<Incoming>,
    lease: Lease,
    _request: RequestGuard,
}

/// Sends a request, and waits for the answer's head.
pub(crate) async fn send(
    upstreams: &Upstreams,
    cluster: &Arc<Cluster>,
    head: Head,
    overrides_alpn: bool,
    body: RequestBody,
) -> Result<Answer, CallError> {
    let context = PickContext {
        host: Some(head.host()),
        ..PickContext::default()
    };
    let picked = upstreams.pick(cluster, &context);
    let picked = picked.map_err(UpstreamError::from)?;
    // It concerns no client: the connection is the proxy's own.
    let wanted = wanted(overrides_alpn, cluster, &picked.endpoint, &head, None);
    let mut lease = upstreams.acquire(cluster, &picked, &wanted).await?;
    let request_guard = RequestGuard::new(cluster, &picked, false)?;
    let http2 = matches!(lease, Lease::Http2(_));
    let request = assemble(head, http2, body).ok_or(CallError::Unwritable)?;
    let result = lease.send(request).await;
    let outcome = match &result {
        Ok(response) => Outcome::Status(response.status().as_u16()),
        Err(_) => Outcome::LocalFailure,
    };
    upstreams.report(cluster, &picked.endpoint, outcome);
    Ok(Answer {
        response: result.map_err(|error| error.error)?,
        lease,
        _request: request_guard,
    })
}

impl Answer {
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Reads the answer to its end, so that the connection can be used again; its headers
    /// with its trailers.
    pub async fn end(self) -> Result<HeaderMap, CallError> {
        let Self {
            response,
            mut lease,
            _request,
        } = self;
        let (parts, mut body) = response.into_parts();
        let mut headers = parts.headers;
        let trailers = std::future::poll_fn(|cx| {
            loop {
                let mut frame = Pin::new(&mut body).poll_frame(cx);
                if frame.is_pending()
                    && let Some(client) = lease.driven()
                {
                    client.drive(cx);
                    frame = Pin::new(&mut body).poll_frame(cx);
                }
                match ready!(frame) {
                    Some(Ok(frame)) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            return Poll::Ready(Ok(Some(trailers)));
                        }
                    }
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Ok(None)),
                }
            }
        })
        .await?;
        if let Lease::Http1(lease) = lease {
            lease.give_back();
        }
        headers.extend(trailers.unwrap_or_default());
        Ok(headers)
    }

    /// As [`Self::end`], of a gRPC call.
    ///
    /// # Errors
    /// Also when its status is not 0.
    pub async fn end_grpc(self) -> Result<(), CallError> {
        let status = self.status();
        if status != StatusCode::OK {
            return Err(CallError::Status(status));
        }
        match grpc::status(&self.end().await?) {
            Some(0) => Ok(()),
            other => Err(CallError::Grpc(other.unwrap_or(2))),
        }
    }
}

/// A POST to a collector, of a body of that length if it is known.
pub(crate) fn post(to: &Collector, content_type: &'static str, length: Option<usize>) -> Head {
    let mut headers = HeaderMap::with_capacity(6 + to.headers.len());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if to.grpc {
        headers.insert(TE, super::names::TRAILERS.clone());
    } else if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    for (name, value) in &to.headers {
        headers.insert(name.clone(), value.clone());
    }
    Head {
        method: Method::POST,
        authority: to.authority.clone(),
        path: to.path.clone(),
        scheme: "http",
        headers,
        upgrade: None,
        expects_continue: false,
        protocol: if to.grpc {
            Protocol::Http2
        } else {
            Protocol::Http11
        },
        spelling: None,
        internal: true,
    }
}

/// A message as gRPC frames it.
pub(crate) fn grpc_frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.extend_from_slice(message);
    frame.freeze()
}

/// A body that is known.
pub(crate) fn whole(body: Bytes) -> RequestBody {
    RequestBody::Chunks(VecDeque::from([body]))
}
