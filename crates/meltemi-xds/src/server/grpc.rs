//! The service's two methods as tonic wants them. Written by hand because the
//! response types are ours (see [`crate::wire`]); the requests are Envoy's.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, StdError, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::delta::DeltaState;
use super::protocol::TypeState;
use super::sotw::SotwState;
use super::stream::{MAX_TYPES, Shared, serve};
use super::{AdsServer, PeerInfo, ResourceSource};
use crate::wire::{
    DELTA_PATH, DELTA_SECRETS_PATH, SECRET_SERVICE, SERVICE, SOTW_PATH, SOTW_SECRETS_PATH,
};

/// Largest request: the versions of [`super::MAX_NAMES`] resources fit.
const MAX_REQUEST_BYTES: usize = 32 * 1024 * 1024;

struct Method<S, T> {
    shared: Arc<Shared<S>>,
    state: std::marker::PhantomData<fn() -> T>,
}

impl<S: ResourceSource, T: TypeState> StreamingService<T::Request> for Method<S, T> {
    type Response = T::Response;
    type ResponseStream = ReceiverStream<Result<T::Response, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<T::Request>>) -> Self::Future {
        let peer = PeerInfo::of(&request);
        // One response of every type, and the status that ends the stream.
        let (sender, receiver) = mpsc::channel(MAX_TYPES + 1);
        tokio::spawn(serve::<S, T>(
            Arc::clone(&self.shared),
            peer,
            request.into_inner(),
            sender,
        ));
        ready(Ok(Response::new(ReceiverStream::new(receiver))))
    }
}

async fn streaming<S, T, B>(
    shared: Arc<Shared<S>>,
    request: http::Request<B>,
) -> http::Response<Body>
where
    S: ResourceSource,
    T: TypeState,
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    let method = Method::<S, T> {
        shared,
        state: std::marker::PhantomData,
    };
    Grpc::new(ProstCodec::<T::Response, T::Request>::default())
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .streaming(method, request)
        .await
}

impl<S, B> tower::Service<http::Request<B>> for AdsServer<S>
where
    S: ResourceSource,
    B: tonic::codegen::Body + Send + 'static,
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
            Ok(match request.uri().path() {
                DELTA_PATH | DELTA_SECRETS_PATH => {
                    streaming::<S, DeltaState, B>(shared, request).await
                }
                SOTW_PATH | SOTW_SECRETS_PATH => {
                    streaming::<S, SotwState, B>(shared, request).await
                }
                path => Status::unimplemented(format!("no method {path}")).into_http(),
            })
        })
    }
}

impl<S> NamedService for AdsServer<S> {
    const NAME: &'static str = SERVICE;
}

/// The same source as `SecretDiscoveryService`, as Istio's agent serves a proxy its own
/// certificate.
pub struct SecretServer<S>(pub AdsServer<S>);

impl<S> Clone for SecretServer<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, B> tower::Service<http::Request<B>> for SecretServer<S>
where
    S: ResourceSource,
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.0.call(request)
    }
}

impl<S> NamedService for SecretServer<S> {
    const NAME: &'static str = SECRET_SERVICE;
}
