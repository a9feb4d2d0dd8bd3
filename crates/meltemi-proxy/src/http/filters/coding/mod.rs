//! Content codings, both ways, as streams whose output is taken in pieces: a small input that
//! becomes very much never stands in memory as a whole.

mod bounded;
mod brotli;
mod gzip;
mod library;
mod zstd;

pub use library::{Decoding, Encoding};

use super::grpc_web;
use super::header_mutation::Trailing;
use ::zstd::stream::raw as zstd_raw;
use http::HeaderMap;

/// One body's coding under way.
pub(crate) enum Coder {
    GzipEncode(Box<flate2::Compress>),
    GzipDecode(Box<flate2::Decompress>),
    BrotliEncode(Box<brotli::Encoder>),
    BrotliDecode(Box<brotli::Decoder>),
    /// The library may have no memory for it.
    ZstdEncode(std::io::Result<Box<zstd_raw::Encoder<'static>>>),
    ZstdDecode(std::io::Result<Box<zstd_raw::Decoder<'static>>>),
    Bounded(Box<bounded::Bounded>),
    Base64Decode(grpc_web::Decoder),
    GrpcWebEncode(Box<grpc_web::Encoder>),
    /// Only what follows the body is changed.
    Trailers(Trailing),
}

/// What is to come of the input given so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// All that the reader can make use of.
    Flushed,
    /// The end: no input follows.
    Ended,
}

/// What one step did.
pub(crate) struct Step {
    pub read: usize,
    pub written: usize,
    /// There is nothing more to come of the input.
    pub done: bool,
}

/// The input is not in this coding, or becomes more than it may.
#[derive(Debug, thiserror::Error)]
#[error("the body is not coded as it says, or becomes too much of too little")]
pub(crate) struct Malformed;

impl Coder {
    /// The trailers behind the body, unless they become part of it.
    pub fn trailers(&mut self, trailers: HeaderMap) -> Option<HeaderMap> {
        match self {
            Self::GrpcWebEncode(coder) => {
                coder.keep(trailers);
                None
            }
            Self::Trailers(trailing) => {
                let mut trailers = trailers;
                trailing.change(&mut trailers);
                Some(trailers)
            }
            _ => Some(trailers),
        }
    }

    /// Data passes as it is, without a [`step`](Self::step).
    pub fn passes_data(&self) -> bool {
        matches!(self, Self::Trailers(_))
    }

    /// Makes output of input, as much as there is room for. Called again with what is left of the
    /// input until it is done.
    pub fn step(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        until: Until,
    ) -> Result<Step, Malformed> {
        match self {
            Self::GzipEncode(coder) => gzip::encode(coder, input, output, until),
            Self::GzipDecode(coder) => gzip::decode(coder, input, output),
            Self::BrotliEncode(coder) => coder.step(input, output, until),
            Self::BrotliDecode(coder) => coder.step(input, output),
            Self::ZstdEncode(Ok(coder)) => zstd::encode(coder, input, output, until),
            Self::ZstdDecode(Ok(coder)) => zstd::decode(coder, input, output),
            Self::Bounded(coder) => coder.step(input, output, until),
            Self::Base64Decode(coder) => coder.step(input, output, until),
            Self::GrpcWebEncode(coder) => Ok(coder.step(input, output, until)),
            Self::Trailers(_) => Ok(Step {
                read: 0,
                written: 0,
                done: true,
            }),
            Self::ZstdEncode(Err(_)) | Self::ZstdDecode(Err(_)) => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a whole body through, a few bytes of output at a time.
    fn run(coder: &mut Coder, input: &[u8], until: Until) -> Result<Vec<u8>, Malformed> {
        let (mut read, mut all) = (0, Vec::new());
        let mut room = [0; 7];
        for _ in 0..1_000_000 {
            let step = coder.step(&input[read..], &mut room, until)?;
            read += step.read;
            all.extend_from_slice(&room[..step.written]);
            if step.done {
                return Ok(all);
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let text: Vec<u8> = (0..5000)
            .flat_map(|n| format!("{n} ").into_bytes())
            .collect();
        for name in ["gzip", "br", "zstd"] {
            let (encoding, decoding) = (Encoding::usual(name), Decoding::usual(name));
            let (mut encoder, mut decoder) = (encoding.start(), decoding.start());
            let first = run(&mut encoder, &text[..100], Until::Flushed).unwrap();
            let there = run(&mut decoder, &first, Until::Flushed).unwrap();
            assert_eq!(there, &text[..100], "{name}: a flush brings all across");
            let rest = run(&mut encoder, &text[100..], Until::Ended).unwrap();
            assert!(rest.len() < text.len(), "{name}");
            assert_eq!(
                run(&mut decoder, &rest, Until::Ended).unwrap(),
                &text[100..],
                "{name}"
            );
            let mut empty = encoding.start();
            let nothing = run(&mut empty, b"", Until::Ended).unwrap();
            let mut decoder = decoding.start();
            assert_eq!(
                run(&mut decoder, &nothing, Until::Ended).unwrap(),
                b"",
                "{name}"
            );
        }
    }

    #[test]
    fn little_may_not_become_very_much() {
        let much = vec![0; 1 << 20];
        for name in ["gzip", "br", "zstd"] {
            let mut encoder = Encoding::usual(name).start();
            let bomb = run(&mut encoder, &much, Until::Ended).unwrap();
            let mut decoder = Decoding::usual(name).start();
            assert!(run(&mut decoder, &bomb, Until::Ended).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_not_encoded_so_is_malformed() {
        for name in ["gzip", "br", "zstd"] {
            let mut decoder = Decoding::usual(name).start();
            let text = [0xff; 200];
            assert!(run(&mut decoder, &text, Until::Ended).is_err(), "{name}");
        }
    }
}
