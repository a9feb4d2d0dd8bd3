//! Buffers that belong to nobody while no bytes wait: an idle relay holds none.

use std::cell::RefCell;

/// Bytes of one buffer. Envoy reads up to 64 KiB at once, and smaller ones cost CPU.
pub const SIZE: usize = 64 * 1024;
/// Bytes behind it: a TLS record is opened with the byte of its type behind its content.
const TAIL: usize = 64;
/// Buffers kept for reuse by a worker (2 MiB).
const KEPT: usize = 32;

/// A worker's spare buffers.
#[derive(Default)]
pub struct BufferPool {
    spare: RefCell<Vec<Box<[u8]>>>,
}

impl BufferPool {
    /// A buffer of a little more than [`SIZE`] bytes with arbitrary contents.
    pub fn take(&self) -> Box<[u8]> {
        self.spare
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| vec![0; SIZE + TAIL].into_boxed_slice())
    }

    pub fn give(&self, buffer: Box<[u8]>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < KEPT && buffer.len() == SIZE + TAIL {
            spare.push(buffer);
        }
    }
}
