//! A bootstrap file, and the static resources in it. The first byte says which form the
//! rest has: `J`, `Y` or `P`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meltemi_fuzz::Resource;
use meltemi_proxy::bootstrap::{Bootstrap, Format};

fuzz_target!(|input: &[u8]| {
    let Some((letter, content)) = input.split_first() else {
        return;
    };
    let format = match letter {
        b'J' => Format::Json,
        b'Y' => Format::Yaml,
        b'P' => Format::Protobuf,
        _ => return,
    };
    match Bootstrap::parse(content, format) {
        Ok(bootstrap) => {
            for (resource, all) in [
                (Resource::Cluster, &bootstrap.clusters),
                (Resource::Listener, &bootstrap.listeners),
                (Resource::Secret, &bootstrap.secrets),
            ] {
                all.iter().for_each(|bytes| resource.ingest(bytes));
            }
        }
        Err(error) => assert!(!error.to_string().trim().is_empty()),
    }
});
