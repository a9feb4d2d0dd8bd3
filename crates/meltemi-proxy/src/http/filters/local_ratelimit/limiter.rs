//! The buckets of a limit, and which of them a request takes from.

use super::descriptors::Descriptor;
use crate::token_bucket::TokenBucket;
use smallvec::SmallVec;
use std::hash::Hasher;
use xxhash_rust::xxh64::Xxh64;

#[derive(Default)]
pub struct Limiter {
    /// For requests that no descriptor fits, and by `consume_default` for all.
    pub default: Option<TokenBucket>,
    /// The strictest first.
    descriptors: Box<[Limited]>,
    pub consume_default: bool,
}

/// Requests with one descriptor.
pub struct Limited {
    hash: u64,
    entries: Entries,
    bucket: TokenBucket,
}

/// Keys and values.
pub type Entries = Box<[(Box<str>, Box<str>)]>;

/// Whether a request may pass, and the bucket that decided.
pub struct Decision<'a> {
    pub allowed: bool,
    pub bucket: Option<&'a TokenBucket>,
}

impl Limited {
    pub fn new(entries: Entries, bucket: TokenBucket) -> Self {
        let parts = entries
            .iter()
            .map(|(key, value)| (&**key, value.as_bytes()));
        Self {
            hash: hash(parts),
            entries,
            bucket,
        }
    }

    fn fits(&self, hash: u64, descriptor: &Descriptor<'_>) -> bool {
        self.hash == hash
            && self.entries.len() == descriptor.len()
            && self
                .entries
                .iter()
                .zip(descriptor)
                .all(|(own, (key, value))| *own.0 == **key && own.1.as_bytes() == &**value)
    }
}

fn hash<'a>(entries: impl Iterator<Item = (&'a str, &'a [u8])>) -> u64 {
    let mut hasher = Xxh64::new(0);
    for (key, value) in entries {
        for part in [key.as_bytes(), value] {
            hasher.write(part);
            hasher.write_u8(0);
        }
    }
    hasher.finish()
}

impl Limiter {
    pub fn new(
        default: Option<TokenBucket>,
        mut descriptors: Vec<Limited>,
        consume_default: bool,
    ) -> Self {
        let rate = |limited: &Limited| limited.bucket.rate.tokens_per_second();
        descriptors.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
        Self {
            default,
            descriptors: descriptors.into(),
            consume_default,
        }
    }

    pub fn has_descriptors(&self) -> bool {
        !self.descriptors.is_empty()
    }

    /// Takes a token of each bucket that fits, the strictest first, until one is empty.
    pub fn decide(&self, descriptors: &[Descriptor<'_>]) -> Decision<'_> {
        let hashes: SmallVec<[u64; 2]> = descriptors
            .iter()
            .map(|descriptor| hash(descriptor.iter().map(|(key, value)| (*key, &**value))))
            .collect();
        let mut first = None;
        for limited in &self.descriptors {
            let mut all = hashes.iter().zip(descriptors);
            if !all.any(|(hash, descriptor)| limited.fits(*hash, descriptor)) {
                continue;
            }
            let bucket = Some(&limited.bucket);
            if !limited.bucket.take() {
                return Decision {
                    allowed: false,
                    bucket,
                };
            }
            first = first.or(bucket);
        }
        if let Some(default) = &self.default
            && (first.is_none() || self.consume_default)
        {
            let allowed = default.take();
            let bucket = first.filter(|_| allowed).unwrap_or(default);
            return Decision {
                allowed,
                bucket: Some(bucket),
            };
        }
        Decision {
            allowed: true,
            bucket: first,
        }
    }
}
