//! Bytes that were read and are not used yet.

use super::Fault;
use bytes::{Buf, Bytes, BytesMut};

/// The bytes of one read, behind the line that its predecessor cut. Data and values of headers are
/// taken off as parts of the same allocation.
#[derive(Clone, Default)]
pub(super) struct Input {
    bytes: Bytes,
    /// The beginning of a line; nothing is in `bytes` then.
    cut: BytesMut,
}

impl Input {
    pub fn new(bytes: Bytes) -> Self {
        Self {
            bytes,
            cut: BytesMut::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.cut.is_empty()
    }

    /// Takes the bytes of a read; those of the one before are used up.
    pub fn put(&mut self, bytes: Bytes) {
        debug_assert!(self.bytes.is_empty(), "bytes would be lost");
        if self.cut.is_empty() {
            self.bytes = bytes;
            return;
        }
        self.cut.extend_from_slice(&bytes);
        if memchr::memchr(b'\n', &bytes).is_some() {
            self.bytes = std::mem::take(&mut self.cut).freeze();
        }
    }

    /// The length of the next line with its line feed; `None` until more bytes are there. A line
    /// of more than `limit` bytes is too large.
    pub fn line(&mut self, limit: usize) -> Result<Option<usize>, Fault> {
        let window = &self.bytes[..self.bytes.len().min(limit)];
        if let Some(end) = memchr::memchr(b'\n', window) {
            return Ok(Some(end + 1));
        }
        self.cut.extend_from_slice(&self.bytes);
        self.bytes = Bytes::new();
        match self.cut.len() >= limit {
            true => Err(Fault::TooLarge),
            false => Ok(None),
        }
    }

    /// What was read, up to the line that is cut.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Takes a line off.
    pub fn consume(&mut self, length: usize) {
        self.bytes.advance(length);
    }

    /// The first byte of a line that is cut.
    pub fn cut_line(&self) -> Option<u8> {
        self.cut.first().copied()
    }

    /// What is there of data, at most `most` bytes.
    pub fn data(&mut self, most: u64) -> Bytes {
        let length = usize::try_from(most).map_or(self.bytes.len(), |n| n.min(self.bytes.len()));
        self.bytes.split_to(length)
    }

    /// Takes these bytes off if they are next.
    pub fn skip(&mut self, expected: &[u8]) -> bool {
        let found = self.cut.is_empty() && self.bytes.starts_with(expected);
        if found {
            self.bytes.advance(expected.len());
        }
        found
    }

    /// All that is left.
    #[cfg(test)]
    pub fn into_rest(self) -> Bytes {
        match self.cut.is_empty() {
            true => self.bytes,
            false => self.cut.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(input: &mut Input, limit: usize) -> Result<Option<Vec<u8>>, Fault> {
        let length = input.line(limit)?;
        Ok(length.map(|length| {
            let line = input.bytes()[..length].to_vec();
            input.consume(length);
            line
        }))
    }

    #[test]
    fn lines_are_found_across_reads_and_bounded() {
        let mut input = Input::new(Bytes::from_static(b"one\r\ntw"));
        assert_eq!(line(&mut input, 5).unwrap().unwrap(), b"one\r\n");
        assert_eq!(line(&mut input, 5).unwrap(), None);
        assert!(!input.is_empty());
        input.put(Bytes::from_static(b"o\r\nrest"));
        assert_eq!(line(&mut input, 5).unwrap().unwrap(), b"two\r\n");
        assert_eq!(input.data(2), "re");
        assert!(!input.skip(b"x") && input.skip(b"st"));
        assert!(input.is_empty());
        input.put(Bytes::from_static(b"12345"));
        assert!(matches!(line(&mut input, 5), Err(Fault::TooLarge)));
        // Also when the line comes byte by byte.
        let mut input = Input::default();
        for _ in 0..4 {
            input.put(Bytes::from_static(b"x"));
            assert_eq!(line(&mut input, 5).unwrap(), None);
        }
        input.put(Bytes::from_static(b"x"));
        assert!(matches!(line(&mut input, 5), Err(Fault::TooLarge)));
        assert_eq!(input.into_rest(), "xxxxx");
    }
}
