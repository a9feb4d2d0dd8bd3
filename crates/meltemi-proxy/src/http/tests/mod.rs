//! The HTTP data path on loopback: what clients and upstreams see.

mod balancing;
mod framing;
mod headers;
mod lifecycle;
mod protocols;
mod resilience;
mod routing;
