//! HTTP/1.0 and 1.1, on hyper.

mod client;
mod framing;
mod server;

pub(crate) use client::Http1Client;
pub(super) use framing::Watch;
pub(super) use server::serve;

/// The body of a received message.
pub(crate) type Incoming = hyper::body::Incoming;
