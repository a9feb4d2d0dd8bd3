//! The HTTP data path on loopback: what clients and upstreams see.

mod attacks;
mod balancing;
mod dynamic;
mod framing;
mod headers;
mod lifecycle;
mod messages;
mod mutual_tls;
mod options;
mod protocols;
mod resilience;
mod routing;
mod statistics;
mod tunnels;
