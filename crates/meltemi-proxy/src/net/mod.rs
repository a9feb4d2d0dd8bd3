//! Sockets: where they are made, how they are set up, and the one type that the data path
//! reads from and writes to.

pub mod buffers;
mod connector;
mod host;
pub mod netns;
pub mod original_dst;
pub mod sockets;
mod stream;
pub mod tls;

pub use connector::{ConnectError, ConnectOptions, Connector};
pub use host::HostSockets;
pub use stream::{Socket, Stream};
