//! TLS connections once their handshake is done. rustls makes the handshake (`crate::tls`) and
//! keeps the secrets of a connection; the records are opened and sealed here, without a copy
//! between a socket's bytes and the memory of who reads or writes.

mod control;
mod piece;
mod record;
mod stream;

pub use control::Side;
pub use record::length as record_length;
pub use stream::TlsStream;
