//! The Huffman code of HPACK (RFC 7541 5.2 and appendix B). It is canonical: codes of one
//! length follow each other in the order of their symbols, so the lengths say it all.

/// The symbol that ends a string, and must not occur in one.
const END: usize = 256;

/// Bits of each symbol's code.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, //
    28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, //
    10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, //
    15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, //
    6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, //
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, //
    23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, //
    23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, //
    26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, //
    28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// Each symbol's code, in the low bits.
static CODES: [u32; 257] = codes();
/// What four more bits mean, for each inner node of the code's tree.
static STEPS: [[Step; 16]; 256] = steps();

#[derive(Clone, Copy)]
struct Step {
    /// The node reached.
    node: u8,
    /// The symbol completed on the way, if `EMITS`; no code is shorter than four bits.
    symbol: u8,
    flags: u8,
}

const EMITS: u8 = 1;
/// The string may end here: what follows the last symbol is less than a byte of ones.
const MAY_END: u8 = 2;
const INVALID: u8 = 4;

const fn codes() -> [u32; 257] {
    let mut codes = [0; 257];
    let (mut code, mut length) = (0, 5);
    while length <= 30 {
        let mut symbol = 0;
        while symbol <= END {
            if LENGTHS[symbol] == length {
                codes[symbol] = code;
                code += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    codes
}

/// The children of each inner node: nodes, or symbols above `LEAF`.
const fn tree() -> [[u16; 2]; 256] {
    let codes = codes();
    let mut tree = [[0; 2]; 256];
    let mut nodes = 1;
    let mut symbol = 0;
    while symbol <= END {
        let mut node = 0;
        let mut left = LENGTHS[symbol];
        while left > 0 {
            left -= 1;
            let bit = ((codes[symbol] >> left) & 1) as usize;
            if left == 0 {
                tree[node][bit] = LEAF + symbol as u16;
            } else {
                if tree[node][bit] == 0 {
                    tree[node][bit] = nodes;
                    nodes += 1;
                }
                node = tree[node][bit] as usize;
            }
        }
        symbol += 1;
    }
    tree
}

const LEAF: u16 = 0x1000;

const fn steps() -> [[Step; 16]; 256] {
    let tree = tree();
    let mut may_end = [false; 256];
    let (mut node, mut depth) = (0, 0);
    while depth < 8 {
        may_end[node] = true;
        node = tree[node][1] as usize;
        depth += 1;
    }
    let mut steps = [[Step {
        node: 0,
        symbol: 0,
        flags: 0,
    }; 16]; 256];
    let mut from = 0;
    while from < 256 {
        let mut bits = 0;
        while bits < 16 {
            let (mut node, mut symbol, mut flags) = (from, 0, 0);
            let mut left = 4;
            while left > 0 {
                left -= 1;
                let next = tree[node][(bits >> left) & 1];
                if next < LEAF {
                    node = next as usize;
                } else if next == LEAF + END as u16 {
                    flags |= INVALID;
                    node = 0;
                } else {
                    symbol = (next - LEAF) as u8;
                    flags |= EMITS;
                    node = 0;
                }
            }
            if may_end[node] {
                flags |= MAY_END;
            }
            steps[from][bits] = Step {
                node: node as u8,
                symbol,
                flags,
            };
            bits += 1;
        }
        from += 1;
    }
    steps
}

/// Appends the decoded string; `None` when it is not one.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut node = 0;
    let mut flags = MAY_END;
    out.reserve(input.len() * 8 / 5);
    for byte in input {
        for bits in [byte >> 4, byte & 15] {
            let step = STEPS[node as usize][bits as usize];
            if step.flags & INVALID != 0 {
                return None;
            }
            if step.flags & EMITS != 0 {
                out.push(step.symbol);
            }
            node = step.node;
            flags = step.flags;
        }
    }
    (flags & MAY_END != 0).then_some(())
}

/// Bytes of the encoded string.
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text
        .iter()
        .map(|byte| usize::from(LENGTHS[usize::from(*byte)]))
        .sum();
    bits.div_ceil(8)
}

/// Appends the encoded string.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0u64, 0);
    for byte in text {
        let symbol = usize::from(*byte);
        bits = bits << LENGTHS[symbol] | u64::from(CODES[symbol]);
        count += LENGTHS[symbol];
        if count >= 32 {
            count -= 32;
            out.extend_from_slice(&((bits >> count) as u32).to_be_bytes());
        }
    }
    while count >= 8 {
        count -= 8;
        out.push((bits >> count) as u8);
    }
    if count > 0 {
        out.push((bits << (8 - count)) as u8 | 0xff >> count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_code_is_that_of_the_rfc() {
        for (symbol, code) in [
            (0, 0x1ff8),
            (b'0', 0),
            (b' ', 0x14),
            (b'z', 0x7b),
            (255, 0x3ff_ffee),
        ] {
            assert_eq!(CODES[usize::from(symbol)], code);
        }
        assert_eq!(CODES[END], 0x3fff_ffff);
        let mut out = Vec::new();
        encode(b"www.example.com", &mut out);
        // RFC 7541 C.4.1
        let expected = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn wrong_padding_and_the_end_symbol_are_refused() {
        let mut out = Vec::new();
        // A byte of padding, padding of zeros, and the code of the end.
        for input in [&[0xff][..], &[0x1f, 0xff], &[0x18], &[0xff; 4]] {
            assert_eq!(decode(input, &mut out), None, "{input:x?}");
        }
        assert_eq!(decode(&[0b0001_1111], &mut out), Some(()));
    }

    proptest! {
        #[test]
        fn every_string_comes_back(text: Vec<u8>) {
            let (mut encoded, mut decoded) = (Vec::new(), Vec::new());
            encode(&text, &mut encoded);
            prop_assert_eq!(encoded.len(), encoded_len(&text));
            prop_assert_eq!(decode(&encoded, &mut decoded), Some(()));
            prop_assert_eq!(decoded, text);
        }
    }
}
