//! Looking at a connection's first bytes without taking them, as Envoy's TLS and HTTP
//! inspectors do. [`tls`] and [`http`] are pure functions of the bytes seen so far.

mod http;
mod peek;
pub mod proxy_protocol;

pub use self::http::{HttpVerdict, http};
pub use crate::tls::{TlsVerdict, client_hello as tls};
pub(super) use peek::{Outcome, Wanted, give_up, inspect, take_proxy_header};
