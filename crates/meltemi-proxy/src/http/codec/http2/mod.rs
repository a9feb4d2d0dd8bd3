//! HTTP/2 (RFC 9113).
//!
//! Upwards, by file: `hpack/` and `frame`, `settings`, `message` know the bytes; `stream`
//! is what a stream is, `connection` (`receive`, `blocks`, `send`) what a connection is,
//! without its socket; `transport` moves bytes between the two; `handles` are what the rest
//! of the proxy holds of a stream; `server` and `client` are the tasks.

mod blocks;
mod budget;
mod client;
mod connection;
mod frame;
mod handles;
mod hpack;
mod keepalive;
mod message;
mod output;
mod reason;
mod receive;
#[cfg(fuzzing)]
pub mod replay;
mod send;
mod server;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod transport;

pub(crate) use client::Http2Client;
pub(crate) use handles::Incoming;
pub(crate) use reason::Reason;
pub(super) use server::serve;
#[cfg(fuzzing)]
pub use settings::Own;
