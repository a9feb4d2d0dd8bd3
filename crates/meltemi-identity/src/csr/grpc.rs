//! The service as tonic wants it, written by hand for its one method.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::{BoxFuture, StdError, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use super::proto::{
    CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse, SERVICE,
};
use super::{CsrService, Inner};

/// Largest request message; the PEM in it is at most 16 KiB, the rest is metadata.
const MAX_REQUEST_BYTES: usize = 64 * 1024;

struct CreateCertificate(Arc<Inner>);

impl UnaryService<IstioCertificateRequest> for CreateCertificate {
    type Response = IstioCertificateResponse;
    type Future = BoxFuture<Response<Self::Response>, Status>;

    fn call(&mut self, request: Request<IstioCertificateRequest>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            // Files are read and RSA keys may sign: not on the async threads.
            tokio::task::spawn_blocking(move || inner.create_certificate(request))
                .await
                .map_err(|error| Status::internal(format!("signing failed: {error}")))?
                .map(Response::new)
        })
    }
}

impl<B> Service<http::Request<B>> for CsrService
where
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
        let method = CreateCertificate(Arc::clone(&self.inner));
        Box::pin(async move {
            if request.uri().path() != CREATE_CERTIFICATE {
                let path = request.uri().path();
                return Ok(Status::unimplemented(format!("no method {path}")).into_http());
            }
            Ok(Grpc::new(ProstCodec::default())
                .max_decoding_message_size(MAX_REQUEST_BYTES)
                .unary(method, request)
                .await)
        })
    }
}

impl NamedService for CsrService {
    const NAME: &'static str = SERVICE;
}
