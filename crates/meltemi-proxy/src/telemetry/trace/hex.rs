//! Numbers as hexadecimal text.

/// Writes the last `digits` digits, in lower case.
pub(super) fn push(out: &mut Vec<u8>, number: u128, digits: u32) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for place in (0..digits).rev() {
        out.push(DIGITS[(number >> (place * 4)) as usize & 15]);
    }
}

/// A number of 1 to 32 digits of either case.
pub(super) fn parse(text: &[u8]) -> Option<u128> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    text.iter().try_fold(0u128, |number, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(number << 4 | u128::from(digit))
    })
}

/// A number of at most 16 digits.
pub(super) fn parse_u64(text: &[u8]) -> Option<u64> {
    parse(text).and_then(|number| u64::try_from(number).ok())
}
