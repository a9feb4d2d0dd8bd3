//! Integers with a prefix (RFC 7541 5.1).

/// Larger ones are refused: no length or index comes near.
const MAX: usize = 1 << 24;

/// Takes an integer whose first bits share `first` with other things; `None` when it is
/// incomplete or too large.
pub(super) fn decode(first: u8, prefix: u32, rest: &mut &[u8]) -> Option<usize> {
    let mask = (1 << prefix) - 1;
    let mut value = usize::from(first) & mask;
    if value < mask {
        return Some(value);
    }
    let mut shift = 0;
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value += usize::from(byte & 0x7f) << shift;
        if value > MAX {
            return None;
        }
        if byte & 0x80 == 0 {
            return Some(value);
        }
        shift += 7;
        if shift > 28 {
            return None;
        }
    }
}

/// `flags` are the bits before the prefix.
pub(super) fn encode(flags: u8, prefix: u32, value: usize, out: &mut Vec<u8>) {
    let mask = (1 << prefix) - 1;
    if value < mask {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | mask as u8);
    let mut left = value - mask;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn endless_and_huge_ones_are_refused() {
        for mut rest in [
            &[0x80; 9][..],
            &[0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x80],
            &[],
        ] {
            assert_eq!(decode(0x1f, 5, &mut rest), None);
        }
        // RFC 7541 C.1.2
        assert_eq!(decode(0x1f, 5, &mut &[0x9a, 0x0a][..]), Some(1337));
    }

    proptest! {
        #[test]
        fn every_integer_comes_back(value in 0..MAX, prefix in 4u32..8) {
            let mut out = Vec::new();
            encode(0, prefix, value, &mut out);
            let mut rest = &out[1..];
            prop_assert_eq!(decode(out[0], prefix, &mut rest), Some(value));
            prop_assert!(rest.is_empty());
        }
    }
}
