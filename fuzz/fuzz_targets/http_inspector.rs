//! The first bytes of a connection as HTTP. They come in pieces: a verdict on a part must be
//! the verdict on the whole, or ask for more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meltemi_fuzz::cuts;
use meltemi_proxy::listener::inspect::{HttpVerdict, http};

fuzz_target!(|input: &[u8]| {
    let whole = http(input);
    for end in cuts(input.len()) {
        let part = http(&input[..end]);
        assert!(
            part == HttpVerdict::NeedMore || part == whole,
            "{end} bytes: {part:?}, all: {whole:?}"
        );
    }
});
