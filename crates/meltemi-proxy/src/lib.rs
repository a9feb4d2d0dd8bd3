//! Meltemi's data plane.
//!
//! A process takes an Envoy bootstrap, compiles what it holds and what ADS brings into an
//! immutable [`model::Snapshot`], and serves traffic by it on worker threads that share
//! nothing on the request path.
//!
//! The main thread owns configuration, DNS and the admin API ([`run`] reads in the order of
//! a process's life); each [`worker`] owns the connections it accepted: [`listener`] ->
//! [`tls`] -> [`http`] or [`tcp`] -> [`upstream`].

#![deny(unsafe_code)]

mod admin;
pub mod bootstrap;
mod clock;
pub mod compile;
pub mod config;
pub mod dns;
mod envoy;
mod export;
pub mod hot_restart;
pub mod http;
mod identity;
mod lifecycle;
pub mod listener;
mod logging;
pub mod model;
pub mod net;
mod node;
pub mod offline;
mod options;
pub mod overload;
mod run;
mod sys;
pub mod tcp;
pub mod telemetry;
mod text;
pub mod tls;
mod token_bucket;
pub mod upstream;
pub mod worker;

pub use admin::ServerError;
pub use meltemi_identity::Credential;
pub use options::*;
pub use run::{RunError, raise_file_limit, run};
