//! The TCP proxy: choose a cluster, connect, relay bytes until both ends are done.

mod buffers;
mod peer_exchange;
mod proxy;
mod relay;
mod stats;
mod tunnel;

pub use buffers::BufferPool;
pub use proxy::serve;
pub use relay::{End, Relayed, relay};
