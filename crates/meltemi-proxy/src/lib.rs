//! Meltemi's data plane.
//!
//! A process takes an Envoy bootstrap, compiles what it holds and what ADS brings into an
//! immutable [`model::Snapshot`], and serves traffic by it on worker threads that share
//! nothing on the request path.

pub mod dns;
pub mod listener;
pub mod model;
pub mod net;
mod options;
pub mod tcp;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod worker;
pub mod http;
pub use options::*;
