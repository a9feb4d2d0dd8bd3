//! HTTP: one connection manager, from the bytes of a client to the answer it gets.
//!
//! `codec` speaks the protocol, `exchange` is the way of one request in order, and each
//! step of it has its own file:
//!
//! `head` -> `path` -> `address` -> `routing` -> `filters` -> `router` (`attempt`, `retry`,
//! `mirror`, `upgrade`) -> `filters` -> the client. Whatever goes wrong becomes a
//! `reply::Reply`, and that file alone decides status, body, flags and details.

mod address;
mod attempt;
pub(crate) mod body;
pub(crate) mod call;
mod client_cert;
pub(crate) mod codec;
mod downstream;
mod exchange;
pub(crate) mod filters;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(crate) mod grpc;
mod hash;
mod head;
mod header_ops;
pub(crate) mod held;
pub(crate) mod matching;
mod mirror;
mod names;
mod offline;
mod path;
mod peer;
mod record;
mod redirect;
mod refused;
mod reply;
mod retry;
mod rewrite;
mod router;
mod routing;
mod source;
mod stage;
mod stats;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
mod timeouts;
mod trace;
mod upgrade;
mod upload;

#[cfg(fuzzing)]
pub use codec::{Http2Settings, replay, transcript};
pub(crate) use offline::{Routed, route};
pub use routing::Mismatch;

use crate::model::HttpManager;
use crate::net::Stream;
use crate::telemetry::ConnectionInfo;
use crate::worker::{DrainSignal, Worker};
use std::rc::Rc;
use std::sync::Arc;

/// Serves a downstream connection; returns when it has ended. Runs on the worker's thread
/// inside its `LocalSet`. When `drain` resolves, the connection ends gracefully.
pub async fn serve(
    stream: Stream,
    manager: Arc<HttpManager>,
    connection: Arc<ConnectionInfo>,
    worker: Rc<Worker>,
    drain: DrainSignal,
) {
    let downstream = downstream::Downstream::new(manager, connection, worker, &drain);
    codec::server::serve(stream, Rc::new(downstream), drain).await;
}
