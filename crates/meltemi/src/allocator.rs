//! The program's memory allocator.

#![expect(unsafe_code, reason = "options of the allocator")]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
