//! HPACK (RFC 7541): header fields into blocks and back.

mod decode;
mod encode;
mod field;
mod huffman;
mod integer;
#[cfg(test)]
mod tests;

pub(crate) use decode::Decoder;
pub(crate) use encode::Encoder;
pub(crate) use field::{Content, Field, Pseudo};
