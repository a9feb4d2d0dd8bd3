//! HTTP/2, on hyper and h2.

mod client;
mod cork;
mod server;

pub(crate) use client::Http2Client;
pub(super) use server::serve;

/// The body of a received message.
pub(crate) type Incoming = hyper::body::Incoming;

/// Runs streams on the thread that they belong to.
#[derive(Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
