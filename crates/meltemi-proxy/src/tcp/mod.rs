//! The TCP proxy: choose a cluster, connect, relay bytes until both ends are done.

mod peer_exchange;
mod proxy;
mod relay;
mod stats;
mod tunnel;

pub use proxy::serve;
pub use relay::{End, Limits, Relayed, relay};
