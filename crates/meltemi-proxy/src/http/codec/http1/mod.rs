//! HTTP/1.0 and 1.1.
//!
//! [`Input`] -> [`head`], [`decode`] receive; [`encode`] -> [`output`] send; none of them
//! waits for anything. A [`Connection`] reads and writes for them: who runs it ([`serve`],
//! [`Http1Client`]) shares it with the body that is being received ([`Incoming`]), and
//! [`sending`] moves a body out of it.

mod client;
mod connection;
mod decode;
mod due;
mod encode;
mod fault;
mod framing;
mod head;
mod incoming;
mod input;
mod opaque;
mod output;
mod sending;
mod server;
mod spelling;
#[cfg(any(test, fuzzing))]
pub mod transcript;

pub(crate) use client::Http1Client;
pub(crate) use incoming::Incoming;
pub(crate) use opaque::Opaque;
pub(super) use server::serve;

use connection::Connection;
use decode::{Decoded, Decoder};
use fault::Fault;
use input::Input;
