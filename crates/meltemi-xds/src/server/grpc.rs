//! The service's two methods. Written by hand because what is sent is not a
//! message but what all streams share of it (see [`super::response`]); the
//! requests are Envoy's.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::{StdError, http};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstDecoder;

use super::delta::DeltaState;
use super::protocol::TypeState;
use super::response::ResponseBody;
use super::sotw::SotwState;
use super::stream::{MAX_TYPES, Shared, serve};
use super::{AdsServer, PeerInfo, ResourceSource};
use crate::wire::{
    DELTA_PATH, DELTA_SECRETS_PATH, SECRET_SERVICE, SERVICE, SOTW_PATH, SOTW_SECRETS_PATH,
};

/// Largest request: the versions of [`super::MAX_NAMES`] resources fit.
const MAX_REQUEST_BYTES: usize = 32 * 1024 * 1024;

fn streaming<S, T, B>(shared: Arc<Shared<S>>, request: http::Request<B>) -> http::Response<Body>
where
    S: ResourceSource,
    T: TypeState,
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    if let Some(encoding) = parts.headers.get("grpc-encoding")
        && encoding != "identity"
    {
        return Status::unimplemented("requests must not be compressed").into_http();
    }
    let metadata = MetadataMap::from_headers(parts.headers);
    let peer = PeerInfo::of(&Request::from_parts(metadata, parts.extensions, ()));
    let decoder = ProstDecoder::<T::Request>::default();
    let requests = Streaming::new_request(decoder, body, None, Some(MAX_REQUEST_BYTES));
    // One response of every type, and the status that ends the stream.
    let (sender, receiver) = mpsc::channel(MAX_TYPES + 1);
    tokio::spawn(serve::<S, T>(shared, peer, requests, sender));
    let mut response = http::Response::new(Body::new(ResponseBody::new(receiver)));
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/grpc"),
    );
    response
}

impl<S, B> tower::Service<http::Request<B>> for AdsServer<S>
where
    S: ResourceSource,
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        ready(Ok(match request.uri().path() {
            DELTA_PATH | DELTA_SECRETS_PATH => streaming::<S, DeltaState, B>(shared, request),
            SOTW_PATH | SOTW_SECRETS_PATH => streaming::<S, SotwState, B>(shared, request),
            path => Status::unimplemented(format!("no method {path}")).into_http(),
        }))
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
    type Future = Ready<Result<Self::Response, Infallible>>;

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
