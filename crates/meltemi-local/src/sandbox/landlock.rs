//! Other processes out of reach, by a Landlock domain that restricts nothing else: what is in
//! it can signal and trace only what is in it too. Needs no privileges, but Linux 6.12
//! (Landlock ABI 6) with Landlock enabled; without, the application can do what its user can.

#![expect(unsafe_code, reason = "system calls without a wrapper")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The kernel's `struct landlock_ruleset_attr`.
#[repr(C)]
struct Attributes {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `LANDLOCK_CREATE_RULESET_VERSION`: asks for the ABI instead of a ruleset.
const VERSION: libc::c_int = 1;
/// The first ABI with scopes.
const SCOPES: libc::c_long = 6;
/// `LANDLOCK_SCOPE_SIGNAL`.
const SIGNAL: u64 = 1 << 1;

/// Puts the calling process, which must have forbidden itself new privileges, into a domain of
/// its own. Does nothing where the kernel cannot.
///
/// # Errors
/// When a kernel that can refuses.
pub(super) fn enter_own_domain() -> io::Result<()> {
    // SAFETY: without attributes nothing is read.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Attributes>(),
            0,
            VERSION,
        )
    };
    if abi < SCOPES {
        return Ok(());
    }
    let attributes = Attributes {
        handled_access_fs: 0,
        handled_access_net: 0,
        scoped: SIGNAL,
    };
    // SAFETY: the attributes live as long as the call, with their size.
    let ruleset = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            size_of::<Attributes>(),
            0,
        )
    };
    let ruleset = i32::try_from(ruleset).map_err(io::Error::other)?;
    if ruleset < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor, ours alone.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset) };
    // SAFETY: plain system call on an open descriptor.
    let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
