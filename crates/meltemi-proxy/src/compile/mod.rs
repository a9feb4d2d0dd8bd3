//! Protobuf to model: one file a concept.
//!
//! Compilation is pure: a message and the interned names go in, the compiled resource, what
//! it refers to and what it is honoured without come out. A message is taken apart field by
//! field, and each field is honoured, documented as harmless, reported ([`Notice`]) or
//! refused ([`Error`]); see `presence`.

mod access_log;
mod access_service;
pub mod any;
pub mod assignment;
mod balancer;
pub(crate) mod basic;
mod chain;
mod cluster;
mod cluster_dns;
mod cluster_protocol;
mod collector;
mod context;
mod discovery;
pub(crate) mod dynamic;
mod error;
mod forward;
mod hcm;
pub(crate) mod headers;
mod health;
mod http_filters;
pub(crate) mod istio;
mod limits;
mod listener;
pub(crate) mod matching;
mod outlier;
pub mod pb;
mod per_filter;
pub(crate) mod presence;
mod protocol;
pub(crate) mod rate_limit;
mod retry;
mod route;
mod route_table;
pub mod secret;
mod subset;
mod tcp;
mod tls;
pub(crate) mod token_bucket;
mod tracing;
mod transport;
mod unsupported;

pub(crate) use basic::{Location, fetch_timeout, location};
pub use cluster::{CompiledCluster, cluster};
pub use context::{Cx, Names, References, RouteReference, SecretReference};
pub use error::{At, Error, Notice, Result};
pub use listener::listener;
pub(crate) use presence::{harmless, left_out, refuse};
pub use route_table::{Conflict, RouteFrame, route_table};

/// Identifies a message by its encoded bytes: equal content needs no compilation.
pub fn content_hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh64::xxh64(bytes, 0)
}
