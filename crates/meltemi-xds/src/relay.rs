//! Passing ADS streams on to another server, with a credential of our own: what stands
//! between a proxy that cannot prove who it is and its control plane (as Istio's agent does
//! for Envoy).

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::Mutex;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, StdError, http};
use tonic::server::NamedService;
use tonic::transport::Channel;
use tower::Service;

use crate::client::{Authorization, Endpoint, chain};
use crate::wire::SERVICE;

/// A gRPC service for [`tonic::service::Routes`]: every stream becomes one of the other
/// server. Nothing is kept or read; while the server is away, streams are refused with
/// `UNAVAILABLE` and the client tries again.
#[derive(Clone)]
pub struct AdsRelay {
    shared: Arc<Shared>,
}

struct Shared {
    server: Endpoint,
    authorization: Option<Authorization>,
    /// All streams share a connection, which opens again by itself once it has worked.
    channel: Mutex<Option<Channel>>,
}

impl AdsRelay {
    /// Streams go to `server`, with the `authorization` header if there is one.
    pub fn new(server: Endpoint, authorization: Option<Authorization>) -> Self {
        Self {
            shared: Arc::new(Shared {
                server,
                authorization,
                channel: Mutex::default(),
            }),
        }
    }
}

impl Shared {
    async fn channel(&self) -> Result<Channel, String> {
        let mut channel = self.channel.lock().await;
        if let Some(open) = &*channel {
            return Ok(open.clone());
        }
        let opened = self.server.connect().await?;
        *channel = Some(opened.clone());
        Ok(opened)
    }

    async fn pass(&self, mut request: http::Request<Body>) -> Result<http::Response<Body>, String> {
        if let Some(header) = self.authorization.as_ref().and_then(|header| header()) {
            let value = http::HeaderValue::try_from(header).map_err(|error| error.to_string())?;
            request
                .headers_mut()
                .insert(http::header::AUTHORIZATION, value);
        }
        let mut channel = self.channel().await?;
        let failed = |error: tonic::transport::Error| format!("{}: {}", self.server, chain(&error));
        poll_fn(|cx| channel.poll_ready(cx)).await.map_err(failed)?;
        channel.call(request).await.map_err(failed)
    }
}

impl<B> Service<http::Request<B>> for AdsRelay
where
    B: tonic::codegen::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            Ok(match shared.pass(request.map(Body::new)).await {
                Ok(response) => response,
                Err(why) => Status::unavailable(why).into_http(),
            })
        })
    }
}

impl NamedService for AdsRelay {
    const NAME: &'static str = SERVICE;
}
