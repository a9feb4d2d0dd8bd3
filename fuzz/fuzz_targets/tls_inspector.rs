//! The first bytes of a connection as TLS. They come in pieces: a verdict on a part must be
//! the verdict on the whole, or ask for more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meltemi_fuzz::cuts;
use meltemi_proxy::listener::inspect::{TlsVerdict, tls};

fuzz_target!(|input: &[u8]| {
    let whole = tls(input);
    for end in cuts(input.len()) {
        let part = tls(&input[..end]);
        assert!(
            part == TlsVerdict::NeedMore || part == whole,
            "{end} bytes: {part:?}, all: {whole:?}"
        );
    }
});
