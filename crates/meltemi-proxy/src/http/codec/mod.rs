//! The codec seam: everything that knows hyper's connection types is in this folder.
//!
//! The rest of `http` sees heads as `http::{Request, Response}`, bodies as the enums of
//! `http::body`, and the few operations of [`client`] and [`server`]. Another codec takes
//! hyper's place by offering the same, without a `dyn` on the way of a request.

pub(crate) mod client;
mod cork;
mod framing;
mod io;
pub(crate) mod server;

pub(crate) use io::Io;

/// The body of a received message.
pub(crate) type Incoming = hyper::body::Incoming;

/// Runs HTTP/2 streams on the thread that they belong to.
#[derive(Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
