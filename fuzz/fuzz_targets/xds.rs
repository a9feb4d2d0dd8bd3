//! One resource of a control plane. The first byte says which kind (`C`luster, `E`ndpoints,
//! `L`istener, `R`outes, `S`ecret); the rest is the message, or its JSON form, which keeps
//! the corpus readable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meltemi_fuzz::Resource;

fuzz_target!(|input: &[u8]| {
    let Some((letter, content)) = input.split_first() else {
        return;
    };
    let Some(resource) = Resource::of(*letter) else {
        return;
    };
    match std::str::from_utf8(content) {
        Ok(json) if json.starts_with('{') => {
            if let Some(bytes) = resource.encode(json) {
                resource.ingest(&bytes);
            }
        }
        _ => resource.ingest(content),
    }
});
