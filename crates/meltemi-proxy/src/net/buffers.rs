//! Large buffers that belong to nobody while no bytes are under way: an idle connection holds
//! none.

use std::cell::RefCell;

/// Bytes of one buffer: what a read under TLS brings at most, with the rest of a record before it.
/// Of memory that is not written to, the kernel gives none.
pub const SIZE: usize = 276 * 1024;
/// Buffers that a thread keeps for reuse (2.2 MiB).
const KEPT: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`SIZE`] bytes with arbitrary contents.
pub fn take() -> Box<[u8]> {
    SPARE
        .with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
}

/// Takes a buffer back; one of another size is freed.
pub fn give(buffer: Box<[u8]>) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < KEPT && buffer.len() == SIZE {
            spare.push(buffer);
        }
    });
}
