//! What safe Rust cannot say: the only `unsafe` of this crate, each with its reason.

#![expect(unsafe_code, reason = "this is the room for it")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::process::Command;

/// Runs `prepare` in the child between fork and exec. It may make system calls, and allocate
/// only when it fails: other threads may have held the allocator's locks at the fork.
pub(crate) fn before_exec(
    command: &mut Command,
    prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    use std::os::unix::process::CommandExt;
    // SAFETY: the callers in this crate keep to what is said above.
    unsafe { command.pre_exec(prepare) };
}

/// A descriptor that the kernel has just made for this process, and nobody else knows of.
pub(crate) fn owned(raw: RawFd) -> OwnedFd {
    // SAFETY: the callers in this crate get it from a system call, once.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Gives the kernel back what start-up has read of the program's file and nobody needs now:
/// pages that are needed after all come from the page cache at their next use.
///
/// The kernel maps sixteen pages for each that is touched, so that most of the resident memory
/// of a small process is code that ran once, or its neighbours.
pub(crate) fn release_program_pages() {
    extern "C" fn of_object(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        _data: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the loader hands out a valid description with that many headers, and holds its
        // lock meanwhile.
        let (name, base, headers) = unsafe {
            let info = &*info;
            let count = usize::from(info.dlpi_phnum);
            (
                CStr::from_ptr(info.dlpi_name),
                info.dlpi_addr as usize,
                std::slice::from_raw_parts(info.dlpi_phdr, count),
            )
        };
        // The program has no name, libraries have a path; the kernel's own object has neither.
        if !matches!(name.to_bytes(), [] | [b'/', ..]) {
            return 0;
        }
        for header in headers {
            let mapped = header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
            if mapped {
                let begin = (base + header.p_vaddr as usize) & !(PAGE - 1);
                let end = base + (header.p_vaddr + header.p_memsz) as usize;
                // SAFETY: a segment that is loaded from its file and never writable holds
                // nothing but the file's bytes, which the next access reads again. Where the
                // kernel refuses, nothing changes.
                let _ = unsafe {
                    libc::madvise(begin as *mut libc::c_void, end - begin, libc::MADV_DONTNEED)
                };
            }
        }
        0
    }
    // SAFETY: the callback keeps to the contract of dl_iterate_phdr: no loading, no unwinding.
    unsafe { libc::dl_iterate_phdr(Some(of_object), std::ptr::null_mut()) };
}

/// Segments begin at multiples of this, or share their first page with another of the same file.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read after it is what was there before.
    #[test]
    fn the_program_runs_on() {
        let text = format!("{PAGE} {}", module_path!());
        release_program_pages();
        assert_eq!(text, format!("{PAGE} {}", module_path!()));
    }

    #[test]
    fn a_command_is_prepared_in_the_child() {
        let run = |prepare: fn() -> io::Result<()>| {
            let mut command = Command::new("true");
            before_exec(&mut command, prepare);
            command.status()
        };
        assert!(run(|| Ok(())).unwrap().success());
        let refused = run(|| Err(io::ErrorKind::PermissionDenied.into()));
        assert!(refused.is_err());
    }

    #[test]
    fn a_descriptor_is_closed_with_its_owner() {
        use std::io::Read;
        use std::os::fd::IntoRawFd;
        let (one, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(owned(one.into_raw_fd()));
        assert_eq!(other.read(&mut [0]).unwrap(), 0);
    }
}
