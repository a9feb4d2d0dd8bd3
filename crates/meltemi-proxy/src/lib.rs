//! Meltemi's data plane.
//!
//! A process takes an Envoy bootstrap, compiles what it holds and what ADS brings into an
//! immutable [`model::Snapshot`], and serves traffic by it on worker threads that share
//! nothing on the request path.

pub mod model;
pub mod telemetry;
