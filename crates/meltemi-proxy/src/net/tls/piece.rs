//! Memory of connections while bytes are under way.

use super::record::{FULL_RECORD, MAX_RECORD};
use crate::net::buffers;

/// Full records that one read may bring.
pub const RECORDS: usize = 16;
/// Bytes of them.
const READ: usize = RECORDS * FULL_RECORD;
const _: () = assert!(buffers::SIZE >= READ + MAX_RECORD);
/// What waits in a large piece and is less than this is moved to memory of its size.
const SMALL: usize = 8 * 1024;

/// Bytes that wait, `start..end` of `bytes`. An empty one holds no memory.
#[derive(Default)]
pub struct Piece {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Piece {
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.into(),
            start: 0,
            end: bytes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Drops the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
    }

    /// Free memory behind what waits; at least [`RECORDS`] full records where at most
    /// [`MAX_RECORD`] bytes wait.
    pub fn room(&mut self) -> &mut [u8] {
        if self.bytes.len() < buffers::SIZE {
            let mut large = buffers::take();
            let waiting = self.end - self.start;
            large[..waiting].copy_from_slice(self.bytes());
            (self.bytes, self.start, self.end) = (large, 0, waiting);
        } else if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    /// Takes in `count` bytes that were written to [`Piece::room`].
    pub fn extend(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.bytes.len());
    }

    /// Gives back memory that is not needed while the bytes wait; a copy of many is spared.
    pub fn settle(&mut self) {
        if self.end - self.start < SMALL {
            self.shrink();
        }
    }

    /// Holds no more memory than the bytes that wait.
    pub fn shrink(&mut self) {
        if self.bytes.len() == self.end - self.start {
            return;
        }
        let exact = Self::from_bytes(self.bytes());
        buffers::give(std::mem::replace(self, exact).bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_stays_in_order_and_an_empty_piece_holds_nothing() {
        let mut piece = Piece::from_bytes(b"one");
        assert!(piece.room().len() >= READ);
        piece.room()[..3].copy_from_slice(b"two");
        piece.extend(3);
        assert_eq!(piece.bytes(), b"onetwo");
        piece.consume(4);
        piece.settle();
        assert_eq!((piece.bytes(), piece.bytes.len()), (&b"wo"[..], 2));
        piece.consume(2);
        piece.settle();
        assert!(piece.is_empty() && piece.bytes.is_empty());
    }

    #[test]
    fn much_that_waits_is_not_copied() {
        let mut piece = Piece::default();
        piece.room()[..SMALL].fill(7);
        piece.extend(SMALL);
        piece.settle();
        assert_eq!(piece.bytes.len(), buffers::SIZE);
        piece.consume(1);
        piece.settle();
        assert_eq!(piece.bytes.len(), SMALL - 1);
        assert!(piece.bytes().iter().all(|byte| *byte == 7));
    }
}
