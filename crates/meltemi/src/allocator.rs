//! The program's memory allocator.

#![expect(unsafe_code, reason = "the allocator's functions and options")]

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc,
    mi_zalloc_aligned,
};
use std::alloc::{GlobalAlloc, Layout};

#[global_allocator]
static ALLOCATOR: Mimalloc = Mimalloc;

/// mimalloc. The crate of that name states an alignment in each call, which costs nearly half of
/// it; every block is aligned to [`NATURAL`] anyway.
struct Mimalloc;

/// What mimalloc aligns every block to: the size of a pointer (`MI_INTPTR_SIZE`), and 16 bytes
/// from a size of 16 on (`MI_MAX_ALIGN_SIZE`), which hardly a type asks for.
const NATURAL: usize = size_of::<usize>();

// SAFETY: the functions keep to the contract of malloc; blocks of all of them are freed by
// `mi_free`, and those that were made with an alignment grow with it.
unsafe impl GlobalAlloc for Mimalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: takes any size and any alignment of a `Layout`.
        let block = unsafe {
            match layout.align() <= NATURAL {
                true => mi_malloc(layout.size()),
                false => mi_malloc_aligned(layout.size(), layout.align()),
            }
        };
        block.cast()
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let block = unsafe {
            match layout.align() <= NATURAL {
                true => mi_zalloc(layout.size()),
                false => mi_zalloc_aligned(layout.size(), layout.align()),
            }
        };
        block.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller's block is one of the functions here.
        unsafe { mi_free(block.cast()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        let block = unsafe {
            match layout.align() <= NATURAL {
                true => mi_realloc(block.cast(), size),
                false => mi_realloc_aligned(block.cast(), size, layout.align()),
            }
        };
        block.cast()
    }
}

/// Gives pages that nobody uses back to the kernel, those of ended threads included.
pub fn release() {
    // SAFETY: frees nothing but the allocator's own spare pages.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// `mi_option_purge_delay` of `mimalloc.h`, which the bindings leave out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Pages that are freed from now on go back to the kernel at once. They otherwise wait for
/// allocations to come, which after a burst may be long.
pub fn purge_at_once() {
    // SAFETY: sets an integer of the allocator's own, which it reads atomically at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn blocks_are_aligned_zeroed_and_keep_what_they_hold_as_they_grow() {
        use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
        for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
            for size in [1, 7, 8, 9, 16, 24, 100, 1024, 5000, 100_000, 3 << 20] {
                let layout = Layout::from_size_align(size, align).unwrap();
                let larger = Layout::from_size_align(size * 3, align).unwrap();
                // SAFETY: each block is used within its size and freed once, as it was made.
                unsafe {
                    let zeroed = alloc_zeroed(layout);
                    let block = alloc(layout);
                    for block in [zeroed, block] {
                        assert_eq!(block.addr() % align, 0, "{size} bytes aligned to {align}");
                    }
                    let zeros = std::slice::from_raw_parts(zeroed, size);
                    assert!(zeros.iter().all(|byte| *byte == 0), "{size} bytes");
                    block.write_bytes(7, size);
                    let block = realloc(block, layout, larger.size());
                    assert_eq!(block.addr() % align, 0, "{size} bytes aligned to {align}");
                    let kept = std::slice::from_raw_parts(block, size);
                    assert!(kept.iter().all(|byte| *byte == 7), "{size} bytes");
                    dealloc(block, larger);
                    dealloc(zeroed, layout);
                }
            }
        }
    }
}
