//! Consistent hashing tables, computed as Envoy computes them, so that both send the same
//! hash to the same endpoint.

use crate::model::RingFunction;
use xxhash_rust::xxh64::xxh64;

/// An endpoint's key (its address or host name) and its share of the traffic; the shares
/// add up to 1.
pub struct Weighted<'a> {
    pub key: &'a str,
    pub share: f64,
}

/// Envoy's ketama ring: sorted (hash, index of the endpoint). Each endpoint has points in
/// proportion to its weight, the lightest a whole number of them, and the ring has at least
/// `minimum` and at most `maximum` points.
pub fn ring(
    endpoints: &[Weighted<'_>],
    minimum: u64,
    maximum: u64,
    function: RingFunction,
) -> Vec<(u64, u32)> {
    let lightest = endpoints
        .iter()
        .map(|endpoint| endpoint.share)
        .fold(f64::INFINITY, f64::min);
    if endpoints.is_empty() || lightest <= 0.0 {
        return Vec::new();
    }
    let scale = ((lightest * minimum as f64).ceil() / lightest).min(maximum as f64);
    let mut ring = Vec::with_capacity(scale.ceil() as usize);
    let mut key = String::new();
    // Running sums, because a share need not be a whole number of points.
    let (mut current, mut target) = (0.0, 0.0);
    for (index, endpoint) in (0u32..).zip(endpoints) {
        key.clear();
        key.push_str(endpoint.key);
        key.push('_');
        let stem = key.len();
        target += scale * endpoint.share;
        let mut number = 0u64;
        while current < target {
            key.truncate(stem);
            key.push_str(&number.to_string());
            let hash = match function {
                RingFunction::XxHash => xxh64(key.as_bytes(), 0),
                RingFunction::MurmurHash2 => murmur2(key.as_bytes()),
            };
            ring.push((hash, index));
            number += 1;
            current += 1.0;
        }
    }
    ring.sort_unstable();
    ring
}

/// MurmurHash64A with the seed of GNU's `std::hash`.
fn murmur2(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xc70f_6907;
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    let mix = |value: u64| value ^ (value >> 47);
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = little_endian(word).wrapping_mul(FACTOR);
        hash = (hash ^ mix(word).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !words.remainder().is_empty() {
        hash = (hash ^ little_endian(words.remainder())).wrapping_mul(FACTOR);
    }
    mix(mix(hash).wrapping_mul(FACTOR))
}

/// Up to eight bytes.
fn little_endian(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A Maglev table of `size` (prime) indices, filled in the order of the endpoints' keys.
pub fn maglev(endpoints: &[Weighted<'_>], size: u64) -> Vec<u32> {
    struct Builder {
        index: u32,
        share: f64,
        target: f64,
        position: u64,
        skip: u64,
    }
    if endpoints.is_empty() || size < 2 {
        return Vec::new();
    }
    let heaviest = endpoints
        .iter()
        .map(|endpoint| endpoint.share)
        .fold(0.0, f64::max);
    let mut order: Vec<u32> = (0..endpoints.len() as u32).collect();
    order.sort_by_key(|index| endpoints[*index as usize].key);
    let mut builders: Vec<Builder> = order
        .into_iter()
        .map(|index| {
            let endpoint = &endpoints[index as usize];
            Builder {
                index,
                share: endpoint.share,
                target: 0.0,
                position: xxh64(endpoint.key.as_bytes(), 0) % size,
                skip: xxh64(endpoint.key.as_bytes(), 1) % (size - 1) + 1,
            }
        })
        .collect();
    const FREE: u32 = u32::MAX;
    let mut table = vec![FREE; size as usize];
    let mut filled = 0;
    let mut turn = 0.0;
    while filled < size {
        turn += 1.0;
        for builder in &mut builders {
            if filled == size {
                break;
            }
            // The heaviest endpoint takes its turn each time, one of a third of its weight
            // every third time.
            if turn * builder.share < builder.target {
                continue;
            }
            builder.target += heaviest;
            while table[builder.position as usize] != FREE {
                builder.position = (builder.position + builder.skip) % size;
            }
            table[builder.position as usize] = builder.index;
            builder.position = (builder.position + builder.skip) % size;
            filled += 1;
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(keys: &[String]) -> Vec<Weighted<'_>> {
        keys.iter()
            .map(|key| Weighted {
                key,
                share: 1.0 / keys.len() as f64,
            })
            .collect()
    }

    fn six() -> Vec<String> {
        (90..96).map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// The ring in the comments of Envoy's own test of its ring hash balancer.
    #[test]
    fn ring_is_envoys() {
        let keys = six();
        let expected: [(u64, u32); 12] = [
            (833_437_586_790_550_860, 94),
            (928_266_305_478_181_108, 92),
            (1_033_482_794_131_418_490, 90),
            (3_551_244_743_356_806_947, 95),
            (3_851_675_632_748_031_481, 93),
            (5_583_722_120_771_150_861, 91),
            (6_311_230_543_546_372_928, 91),
            (7_700_377_290_971_790_572, 93),
            (13_144_177_310_400_110_813, 95),
            (13_444_792_449_719_432_967, 92),
            (15_516_499_411_664_133_160, 94),
            (16_117_243_373_044_804_889, 90),
        ];
        let ring = ring(&equal(&keys), 12, 8 << 20, RingFunction::XxHash);
        let found: Vec<_> = ring
            .iter()
            .map(|(hash, index)| (*hash, index + 90))
            .collect();
        assert_eq!(found, expected);
    }

    /// As the ring in the comments of Envoy's test of MurmurHash.
    #[test]
    fn a_ring_by_murmur_is_envoys() {
        let keys: Vec<String> = (80..86).map(|port| format!("127.0.0.1:{port}")).collect();
        let expected: [(u64, u32); 12] = [
            (1_358_027_074_129_602_068, 85),
            (4_361_834_613_929_391_114, 83),
            (7_224_494_972_555_149_682, 84),
            (7_701_421_856_454_313_576, 81),
            (8_649_315_368_077_433_379, 82),
            (8_739_448_859_063_030_639, 84),
            (9_887_544_217_113_020_895, 81),
            (10_150_910_876_324_007_731, 82),
            (15_168_472_011_420_622_455, 83),
            (15_427_156_902_705_414_897, 80),
            (16_375_050_414_328_759_093, 85),
            (17_613_279_263_364_193_813, 80),
        ];
        let ring = ring(&equal(&keys), 12, 8 << 20, RingFunction::MurmurHash2);
        let found = ring.iter().map(|(hash, index)| (*hash, index + 80));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    /// The table in the comments of Envoy's own test of its Maglev balancer.
    #[test]
    fn maglev_is_envoys() {
        let keys = six();
        assert_eq!(maglev(&equal(&keys), 7), [2, 4, 0, 1, 5, 0, 3]);
    }

    #[test]
    fn ring_keeps_to_its_bounds() {
        let keys = six();
        assert_eq!(
            ring(&equal(&keys), 1024, 8 << 20, RingFunction::XxHash).len(),
            1026
        );
        assert_eq!(ring(&equal(&keys), 1, 3, RingFunction::XxHash).len(), 3);
        assert!(ring(&[], 1024, 2048, RingFunction::XxHash).is_empty());
    }

    #[test]
    fn maglev_follows_weights() {
        let endpoints = [
            Weighted {
                key: "a",
                share: 0.75,
            },
            Weighted {
                key: "b",
                share: 0.25,
            },
        ];
        let table = maglev(&endpoints, 65_537);
        let first = table.iter().filter(|index| **index == 0).count();
        assert!((48_000..50_500).contains(&first), "{first}");
    }
}
